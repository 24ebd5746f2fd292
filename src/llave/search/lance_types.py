"""Types of the columns of a LanceDB table, and how a column is given another one though killed at any moment."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from llave.collection.types import FieldType, Scalar, cast
from llave.search.fields import cast_all

__all__ = ["NEW", "SQL_TYPES", "TYPES", "convert", "recover", "write_column"]

TYPES: dict[FieldType, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.large_string(),  # as it was written; Arrow's other type of texts tells it from them
}
SQL_TYPES: dict[FieldType, str] = {
    "string": "CAST(NULL AS string)",
    "integer": "CAST(NULL AS bigint)",
    "number": "CAST(NULL AS double)",
    "boolean": "CAST(NULL AS boolean)",
    "date": "arrow_cast(NULL, 'LargeUtf8')",
}
NEW = "$new"
"""At the end of the name of a column that is to replace one."""


def convert(table: Any, column: str, kind: FieldType, ids: Sequence[str], values: Sequence[Any]) -> None:
    """A column of another type beside the old one, which it replaces when it is full.

    Args:
        ids: of the rows that have a value; the others have none.
        values: of these rows.
    """
    values, kind = cast_all(values, kind)
    if table.schema.field(column).type == TYPES[kind]:
        return
    table.add_columns({column + NEW: SQL_TYPES[kind]})
    if values:
        content = pa.table({"id": ids, column + NEW: pa.array(values, TYPES[kind])})
        table.merge_insert("id").when_matched_update_all().execute(content)
    table.drop_columns([column])
    table.alter_columns({"path": column + NEW, "rename": column})


def recover(table: Any) -> None:
    """What a killed run left of a conversion: one that was not done is done anew, one that was is named."""
    names = table.schema.names
    for name in (name for name in names if name.endswith(NEW)):
        column = name.removesuffix(NEW)
        if column in names:
            table.drop_columns([name])
        else:
            table.alter_columns({"path": name, "rename": column})


def write_column(table: Any, column: str, kind: FieldType, values: Mapping[str, Scalar]) -> None:
    """Give rows, by id, a value of a column that is there; ids that no row has are passed over."""
    content = pa.array([cast(value, kind) for value in values.values()], TYPES[kind])
    changes = pa.table({"id": pa.array(list(values), pa.string()), column: content})
    table.merge_insert("id").when_matched_update_all().execute(changes)
