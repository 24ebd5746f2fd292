"""Cells of a data set's rows; a missing column is named together with the row and the columns that are there."""

import string
from collections.abc import Mapping
from typing import Any

from llave.data.tables import as_text
from llave.errors import DataError
from llave.evaluation.benchmarks.spec import TaskSpec

__all__ = ["Row", "columns_of", "string_in", "strings_in", "text_of"]

Row = Mapping[str, Any]


def text_of(row: Row, spec: TaskSpec, role: str, where: str) -> str:
    """A column by its role, or the first of several; a pattern such as ``v_{name}`` is filled in from others."""
    column = spec.columns.get(role)
    if column is None:
        raise DataError(f"{spec.name}: columns names no {role}")
    if isinstance(column, list):
        column = next((name for name in column if row.get(name) not in (None, "")), column[0])
    if "{" in column:
        names = [name for _, name, _, _ in string.Formatter().parse(column) if name]
        values = {name: row["{config}"] if name == "config" else string_in(row, name, where) for name in names}
        return str(column.format(**values))
    return string_in(row, column, where)


def string_in(row: Row, column: str, where: str) -> str:
    """A cell as a text."""
    if column not in row:
        raise DataError(f"{where}: missing column {column}; it has {', '.join(columns_of(row))}")
    return as_text(row[column])


def columns_of(row: Row) -> list[str]:
    """The table's own columns, for messages."""
    return [name for name in row if name[:1] != "{"]


def strings_in(row: Row, column: str, where: str) -> list[str]:
    """A list's cells as texts; none where the column is missing."""
    value = row.get(column)
    if value is None:
        return []
    if not isinstance(value, list):
        raise DataError(f"{where}: {column} must be a list")
    return [as_text(entry) for entry in value]
