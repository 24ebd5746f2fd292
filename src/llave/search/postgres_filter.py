"""A checked filter as SQL with parameters. Values are never part of the statement, and neither are names of fields:
these are keys of the column ``fields`` (jsonb), in which a number is compared as a number and a text as a text."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from llave.search.filters import And, Condition, Filter, Not
from llave.search.names import OWN_FIELDS
from llave.search.postgres_rows import storable

__all__ = ["where"]

Clause = tuple[sql.Composable, list[Any]]
INSTANT = sql.SQL(
    "(regexp_replace(regexp_replace({0}, '(Z|[+-][0-9]{{2}}:[0-9]{{2}})$', ''), '([.][0-9]{{6}})[0-9]+$', '\\1')"
    "::timestamp - coalesce(substring({0} from '[+-][0-9]{{2}}:[0-9]{{2}}$'), '00:00')::interval)"
)
"""A date in UTC. Its zone is taken off first: PostgreSQL knows no zone of 16 hours and more, ISO 8601 and Python do."""


def where(filter: Filter) -> Clause:
    """A predicate of the columns of a table, and its parameters."""
    if isinstance(filter, Condition):
        return _condition(filter)
    if isinstance(filter, Not):
        inner, values = where(filter.part)
        return sql.SQL("(({}) IS NOT TRUE)").format(inner), values  # also of what is unknown for want of a value
    clauses = [where(part) for part in filter.parts]
    if not clauses:
        return sql.SQL("true" if isinstance(filter, And) else "false"), []
    word = sql.SQL(" AND " if isinstance(filter, And) else " OR ")
    joined = word.join(sql.SQL("({})").format(clause) for clause, _ in clauses)
    return joined, [value for _, values in clauses for value in values]


def _condition(condition: Condition) -> Clause:
    name, op, value = condition.field, condition.op, condition.value
    if name in OWN_FIELDS:
        column = sql.Identifier(name)
        return _own(column, op, value)
    if op == "null" or value is None:
        return sql.SQL("fields -> %s::text IS NULL"), [name]
    text = sql.SQL("(fields ->> %s::text)")
    if isinstance(value, datetime):
        return sql.SQL("{} {} %s").format(INSTANT.format(text), sql.SQL(op)), [name, name, value]
    if op == "=":
        return sql.SQL("fields @> %s"), [Jsonb({name: storable(value)})]  # the form that an index is used for
    if isinstance(value, tuple):
        return sql.SQL("fields -> %s::text = ANY(%s)"), [name, [Jsonb(storable(each)) for each in value]]
    if op in ("like", "ilike", "starts"):
        clause, values = _own(text, op, value)
        return clause, [name, *values]
    return sql.SQL("fields -> %s::text {} %s").format(sql.SQL(op)), [name, Jsonb(value)]


def _own(text: sql.Composable, op: str, value: Any) -> Clause:
    """A condition on a text."""
    if op == "null":
        return sql.SQL("{} IS NULL").format(text), []
    if op == "in":
        values: Sequence[Any] = [storable(each) for each in value]
        return sql.SQL("{} = ANY(%s)").format(text), [values]
    if op == "starts":
        return sql.SQL("starts_with({}, %s::text)").format(text), [storable(value)]
    return sql.SQL("{} {} %s").format(text, sql.SQL(op.upper())), [storable(value)]
