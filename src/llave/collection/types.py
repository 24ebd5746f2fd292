"""What a metadata field holds: one type for all its values, found by looking at them."""

import datetime
import decimal
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeGuard, get_args

from llave.collection.dates import is_date
from llave.data.identity import legible

__all__ = [
    "Date",
    "FieldType",
    "FieldTypes",
    "Scalar",
    "cast",
    "infer_types",
    "join",
    "kept_as_text",
    "scalar",
    "type_of",
]

FieldType = Literal["string", "integer", "number", "boolean", "date"]
Scalar = str | int | float | bool | None
GUESSES: tuple[FieldType, ...] = ("integer", "number", "boolean", "date")
"""Tried in this order; what is none of them is a text."""
WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")
EXACT = 2**53
"""Up to here a number in 64 bits with a point holds every integer."""


class Date(str):
    """A date or time in ISO form, kept as it was written: a text that can also be compared in time."""


def _is_integer(value: Any) -> TypeGuard[int]:
    """Whether it is one that 64 bits hold."""
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def scalar(value: Any) -> Scalar:
    """A field as it is kept: text, integer of 64 bits, finite number, truth value or nothing; a time in ISO form, a
    larger integer as text, anything else as JSON."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if isinstance(value, Date) else legible(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, int):
        return value if _is_integer(value) else str(value)
    if isinstance(value, float | decimal.Decimal):
        number = float(value)
        return number if math.isfinite(number) else None
    return legible(json.dumps(value, ensure_ascii=False, default=str))


def type_of(value: str | int | float | bool) -> FieldType:
    """Of one value."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "date" if isinstance(value, Date) else "string"
    return "integer" if isinstance(value, int) else "number"


def join(one: FieldType, other: FieldType) -> FieldType:
    """The narrowest type that values of both can have; a text in the end."""
    if one == other:
        return one
    return "number" if {one, other} == {"integer", "number"} else "string"


def cast(value: Scalar, kind: FieldType) -> Scalar:
    """The value in this type; nothing stays nothing.

    Raises:
        ValueError: it would not be written back the same.
    """
    if value is None:
        return None
    if kind == "string":
        return str(value).lower() if isinstance(value, bool) else str(value)
    text = value if isinstance(value, str) else None
    if kind == "date" and text is not None and is_date(text):
        return Date(text)
    if kind == "boolean" and (isinstance(value, bool) or text in ("true", "false", "True", "False", "TRUE", "FALSE")):
        return value if text is None else text.lower() == "true"
    if kind == "integer":
        if text is not None and WHOLE.fullmatch(text) and _is_integer(int(text)):
            return int(text)
        if _is_integer(value) or (isinstance(value, float) and value.is_integer() and abs(value) <= EXACT):
            return int(value)
    if kind == "number" and not isinstance(value, bool):
        if text is not None and len(text) < 32 and _is_written_back(text):
            return float(text)
        if isinstance(value, float) or (isinstance(value, int) and abs(value) <= EXACT):
            return float(value)
    raise ValueError(f"{value!r:.80} is no {kind}")


def _is_written_back(text: str) -> bool:
    """Whether a text is a number that has no other text: ``1.10`` is that of 1.1, ``1e5`` that of 100000.0."""
    if WHOLE.fullmatch(text):
        return abs(int(text)) <= EXACT
    try:
        return repr(float(text)) == text and text[-1].isdigit()
    except ValueError:
        return False


@dataclass(frozen=True)
class FieldTypes:
    """Columns that are fields, and their types.

    Args:
        names: the columns.
        types: of those whose values are to be given a type; the others have their own.
        written: an empty text is nothing.
        notes: a line for each column of several types.
    """

    names: Sequence[str]
    types: Mapping[str, FieldType] = field(default_factory=dict)
    written: bool = False
    notes: Sequence[str] = ()

    def of(self, row: Mapping[str, Any]) -> dict[str, Scalar]:
        """The fields of a row."""
        fields = {name: scalar(row[name]) for name in self.names if name in row}
        for name, value in fields.items():
            if self.written and value == "":
                fields[name] = None
            elif name in self.types:
                fields[name] = _cast_or_text(value, self.types[name])
        return fields


def infer_types(rows: Iterable[Any], names: Sequence[str], *, written: bool) -> FieldTypes:
    """The types of columns by all their values.

    Args:
        rows: every row, or what is in the place of one that cannot be read.
        written: all values are texts, as in CSV, so that a number or truth value is told by how it is written. Else
            only dates are.
    """
    left: dict[str, tuple[FieldType, ...]] = {}
    kinds: dict[str, set[FieldType]] = {name: set() for name in names}
    plain = FieldTypes(names, written=written)
    for row in rows:
        for name, value in plain.of(row).items() if isinstance(row, Mapping) else ():
            if value is not None:
                left[name] = tuple(kind for kind in left.get(name, GUESSES) if _fits(value, kind, written))
                kinds[name].add(type_of(value))
    types: dict[str, FieldType] = {name: guesses[0] if guesses else "string" for name, guesses in left.items()}
    notes = [
        kept_as_text(name, *kinds[name]) for name, kind in types.items() if kind == "string" and len(kinds[name]) > 1
    ]
    return FieldTypes(names, types, written, notes)


def _fits(value: Scalar, kind: FieldType, written: bool) -> bool:
    if isinstance(value, str) and not written and kind != "date":
        return False
    try:
        cast(value, kind)
    except ValueError:
        return False
    return True


def _cast_or_text(value: Scalar, kind: FieldType) -> Scalar:
    """A table's date may be one that Python does not know."""
    try:
        return cast(value, kind)
    except ValueError:
        return cast(value, "string")


def kept_as_text(name: str, *kinds: FieldType) -> str:
    """What is said of a field whose values are of several types."""
    found = [kind for kind in get_args(FieldType) if kind in kinds]
    return f"field {name!r}: {' and '.join(found)} in different rows, so that all of them are kept as texts"
