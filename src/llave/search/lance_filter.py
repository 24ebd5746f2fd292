"""A checked filter as the SQL of LanceDB."""

from collections.abc import Sequence
from datetime import datetime

from llave.data.identity import legible
from llave.search.filters import And, Condition, Filter, Not, Value

__all__ = ["as_sql", "literal", "one_of"]

LOWEST = -(2**63)
TO_THE_MINUTE = "^(.{10}[T ][0-9]{2}:[0-9]{2})$"
"""Lance's SQL reads a time with its seconds only."""


def as_sql(filter: Filter) -> str:
    """A predicate. Its columns are names that were checked, its values are quoted: nothing of either is read as SQL."""
    if isinstance(filter, Condition):
        return _condition(filter)
    if isinstance(filter, Not):
        return f"({as_sql(filter.part)}) IS NOT TRUE"  # also of what is unknown for want of a value
    joined = (" AND " if isinstance(filter, And) else " OR ").join(f"({as_sql(part)})" for part in filter.parts)
    return joined or ("true" if isinstance(filter, And) else "false")


def _condition(condition: Condition) -> str:
    column = f"`{condition.field}`"
    value = condition.value
    if condition.op == "null" or value is None:
        return f"{column} IS NULL"
    if isinstance(value, tuple):
        return one_of(condition.field, value)
    if isinstance(value, datetime):
        time = f"CAST(regexp_replace({column}, '{TO_THE_MINUTE}', '${{1}}:00') AS TIMESTAMP)"
        return f"{time} {condition.op} {literal(value)}"
    if condition.op == "starts":
        return f"starts_with({column}, {literal(value)})"
    return f"{column} {condition.op.upper()} {literal(value)}"


def one_of(column: str, values: Sequence[Value]) -> str:
    """Whether a column has one of these values."""
    return f"`{column}` IN ({', '.join(literal(value) for value in values)})" if values else "false"


def literal(value: Value) -> str:
    """A value, quoted."""
    if isinstance(value, str):
        return "'" + legible(value).replace("'", "''") + "'"
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.isoformat()}'"
    if isinstance(value, int) and value == LOWEST:  # its digits alone are one integer too many
        return f"CAST('{LOWEST}' AS bigint)"
    return str(value).lower() if isinstance(value, bool) else repr(value)
