"""Fields of rows in a PostgreSQL table: their values, and their types in the registry, changed in one transaction."""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Cursor, sql
from psycopg.types.json import Jsonb

from llave.collection.types import FieldType, Scalar, cast
from llave.search.fields import cast_all, changed_types
from llave.search.names import column_of
from llave.search.postgres_rows import as_field, storable
from llave.search.postgres_table import Table, write_types

__all__ = ["grow", "retype", "selected", "set_values"]

Types = Mapping[str, FieldType]


def selected(column: str, *, is_field: bool) -> tuple[sql.Composable, list[Any]]:
    """What a column's values are selected by, and its parameters."""
    return (sql.SQL("fields -> %s::text"), [column]) if is_field else (sql.Identifier(column), [])


def grow(cursor: Cursor[Any], table: Table, known: Types, fields: Sequence[Mapping[str, Scalar]]) -> Types:
    """All fields with their types, after changing those that do not hold what rows have."""
    return retype(cursor, table, known, changed_types(known, fields))


def retype(cursor: Cursor[Any], table: Table, known: Types, types: Mapping[str, FieldType | None]) -> Types:
    """Give fields other types, or remove them; all fields with their types afterwards."""
    found = dict(known)
    for name, kind in types.items():
        column = column_of(name)
        if kind is None:
            found.pop(name, None)
            statement = table.sql("UPDATE {items} SET fields = fields - %s::text WHERE fields ? %s::text")
            cursor.execute(statement, [column, column])
        elif name not in known:
            found[name] = kind
        elif kind != known[name]:
            statement = table.sql("SELECT id, fields -> %s::text FROM {items} WHERE fields ? %s::text")
            old = {
                row_id: as_field(value, known[name]) for row_id, value in cursor.execute(statement, [column, column])
            }
            values, found[name] = cast_all(list(old.values()), kind)
            pairs = zip(old, values, strict=True)
            changed = {row_id: value for row_id, value in pairs if type(value) is not type(old[row_id])}
            set_values(cursor, table, column, changed)
    if found != known:
        write_types(cursor, table, found)
    return found


def set_values(
    cursor: Cursor[Any], table: Table, column: str, values: Mapping[str, Scalar], kind: FieldType | None = None
) -> None:
    """Give rows, by id, these values, cast to a type if one is said; ids that no row has are passed over."""
    statement = table.sql(
        "UPDATE {items} SET fields = CASE WHEN value IS NULL THEN fields - %s::text"
        " ELSE fields || jsonb_build_object(%s::text, value) END"
        " FROM unnest(%s::text[], %s::jsonb[]) AS given (row_id, value) WHERE id = row_id"
    )
    typed = [value if kind is None else cast(value, kind) for value in values.values()]
    given = [None if value is None else Jsonb(storable(value)) for value in typed]
    cursor.execute(statement, [column, column, [storable(row_id) for row_id in values], given])
