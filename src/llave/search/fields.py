"""Metadata fields: their types, and conditions that fit them."""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from functools import reduce
from typing import Any

from llave.collection.dates import instant, span
from llave.collection.types import FieldType, Scalar, cast, join, type_of
from llave.errors import UserError
from llave.search.filters import And, Condition, Filter, Not, Or, Value
from llave.search.names import OWN_FIELDS, column_of

__all__ = ["Field", "as_number", "cast_all", "changed_types", "check_filter", "check_sort", "describe", "in_order"]

MAX_VALUES = 50
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
RANGES = ("<", "<=", ">", ">=")
TEXTUAL = ("like", "ilike", "starts")
NOTHING = Or()
MODIFIED = "modified"
"""An order by the time of the items' files, where no field of the user's has that name."""


@dataclass(frozen=True, slots=True)
class Field:
    """A metadata field: its most frequent values with their numbers of items, or its range."""

    name: str
    type: FieldType
    values: list[tuple[str | bool, int]]
    low: float | str | None = None
    high: float | str | None = None


def changed_types(known: Mapping[str, FieldType], rows: Sequence[Mapping[str, Scalar]]) -> dict[str, FieldType]:
    """The types of fields that are new, or whose type does not hold what these rows have."""
    values: dict[str, list[str | int | float | bool]] = {}
    for name, value in (pair for row in rows for pair in row.items()):
        if value is not None:
            values.setdefault(name, []).append(value)
    changed: dict[str, FieldType] = {}
    for name, of_field in values.items():
        now = known.get(name)
        if now is None or not all(_holds(now, value) for value in of_field):
            wanted = reduce(join, map(type_of, of_field), now or type_of(of_field[0]))
            changed[name] = wanted if all(_holds(wanted, value) for value in of_field) else "string"
    return changed


def _holds(column: FieldType, value: str | int | float | bool) -> bool:
    """Whether a value can stand in such a column as it is; a text is no number there."""
    if join(column, type_of(value)) == "string":
        return column == "string"
    try:
        cast(value, column)
    except ValueError:
        return False
    return True


def cast_all(values: Sequence[Scalar], kind: FieldType) -> tuple[list[Scalar], FieldType]:
    """A field's values in a type; texts, where one would not be written back the same."""
    try:
        return [cast(value, kind) for value in values], kind
    except ValueError:
        return [cast(value, "string") for value in values], "string"


def check_filter(filter: Filter, fields: Mapping[str, FieldType]) -> Filter:
    """The filter with columns in place of fields, and values of the columns' types. A condition on a date is one of
    instants, with ``>=`` and ``<`` alone.

    Raises:
        UserError: no such field, or a condition that cannot be of its type.
    """
    if isinstance(filter, And | Or):
        return type(filter)(tuple(check_filter(part, fields) for part in filter.parts))
    if isinstance(filter, Not):
        return Not(check_filter(filter.part, fields))
    kind = fields.get(filter.field) or OWN_FIELDS.get(filter.field)
    if kind is None:
        raise UserError(f"filter: no field {filter.field!r}; there are: {', '.join(sorted({**fields, **OWN_FIELDS}))}")
    column = column_of(filter.field) if filter.field in fields else filter.field
    if filter.op == "null":
        return Condition(column, "null")
    if filter.op in RANGES and kind in ("string", "boolean"):
        raise UserError(f"filter: {filter.op} compares numbers and dates, and {filter.field} is a {kind}")
    if filter.op in TEXTUAL and kind not in ("string", "date"):
        raise UserError(f"filter: {filter.op} compares texts, and {filter.field} is {_a(kind)}")
    values = filter.value if isinstance(filter.value, tuple) else (filter.value,)
    typed = [_TYPED["string" if filter.op in TEXTUAL else kind](filter.field, str(value)) for value in values]
    if kind == "date" and filter.op not in TEXTUAL:
        return _one_of([_when(column, filter.op, *ends) for ends in typed])
    if kind == "integer":
        exact = [_whole(column, filter.op, value) for value in typed]
        if filter.op != "in":
            return exact[0]
        typed = [part.value for part in exact if isinstance(part, Condition)]
        return Condition(column, "in", tuple(typed)) if typed else NOTHING
    return Condition(column, filter.op, tuple(typed) if filter.op == "in" else typed[0])


def _text(field: str, word: str) -> Value:
    return word


def _boolean(field: str, word: str) -> Value:
    if word.lower() not in ("true", "false"):
        raise UserError(f"filter: {field} is a boolean, true or false, and {word!r:.80} is neither")
    return word.lower() == "true"


def _number(field: str, word: str) -> Value:
    if not NUMBER.fullmatch(word):
        raise UserError(f"filter: {field} is a number, and {word!r:.80} is none")
    if abs(float(word)) == float("inf"):
        raise UserError(f"filter: {field!r} is compared with {word[:20]}…, which is no finite number of 64 bits")
    return float(word)


def _integer(field: str, word: str) -> Any:
    """Exact, as a decimal."""
    if not NUMBER.fullmatch(word):
        raise UserError(f"filter: {field} is an integer, and {word!r:.80} is no number")
    number = Decimal(word)
    if not -(2**63) <= number < 2**63:
        raise UserError(f"filter: {field!r} is compared with {word[:20]}…, which is no finite number of 64 bits")
    return number


def _date(field: str, word: str) -> Any:
    try:
        return span(word)
    except ValueError:
        raise UserError(
            f"filter: {field} is a date, and {word!r:.80} is none; write 2024, 2024-05, 2024-05-01 or 2024-05-01T10:00"
        ) from None


_TYPED: Mapping[FieldType, Callable[[str, str], Any]] = {
    "string": _text,
    "boolean": _boolean,
    "number": _number,
    "integer": _integer,
    "date": _date,
}


def _whole(column: str, op: Any, number: Decimal) -> Filter:
    """A condition on integers: between two of them only what lies on one side is true."""
    floor = int(number // 1) if number >= 0 or number == number // 1 else int(number // 1) - 1
    if number == floor:
        return Condition(column, "=" if op == "in" else op, floor)
    if op in ("=", "in"):
        return NOTHING
    return Condition(column, "<=" if op in ("<", "<=") else ">", floor)


def _when(column: str, op: str, start: Any, end: Any) -> Filter:
    """A condition on instants: a month is as long as it is."""
    if op in RANGES:
        return Condition(column, ">=" if op[0] == ">" else "<", start if op in (">=", "<") else end)
    return And((Condition(column, ">=", start), Condition(column, "<", end)))


def _one_of(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


def _a(kind: FieldType) -> str:
    return f"{'an' if kind == 'integer' else 'a'} {kind}"


def check_sort(sort: str | None, fields: Mapping[str, FieldType]) -> tuple[str, FieldType]:
    """The column to sort by, and its type; None is the key.

    Raises:
        UserError: no such field.
    """
    if sort is None:
        return "key", "string"
    if sort == MODIFIED and sort not in fields:
        return "stamp", "string"
    kind = fields.get(sort) or OWN_FIELDS.get(sort)
    if kind is None:
        there = ", ".join(sorted({MODIFIED, *fields, *OWN_FIELDS}))
        raise UserError(f"sort: no field {sort!r}; there are: {there}")
    return column_of(sort) if sort in fields else sort, kind


def in_order(found: Mapping[str, Sequence[Any]], column: str, kind: FieldType, descending: bool) -> list[str]:
    """Ids by the values of a column, those without one last; equal ones by key.

    Args:
        found: columns ``id``, ``key`` and that one.
    """
    keys, values = found["key"], found[column]
    if column == "stamp":
        values = [_modified(stamp) for stamp in values]
    elif kind == "date":
        values = [None if value is None else instant(value) for value in values]
    places = sorted(range(len(keys)), key=keys.__getitem__)
    there = [place for place in places if values[place] is not None]
    there.sort(key=values.__getitem__, reverse=descending)  # stable, in reverse too
    return [found["id"][place] for place in there + [place for place in places if values[place] is None]]


def _modified(stamp: str) -> int | None:
    """The time of an item's file, of its size, time and a hash."""
    time = stamp.split(":")[1:2]
    return int(time[0]) if time and time[0].isdigit() else None


def as_number(value: Any, kind: FieldType) -> float | None:
    """A number as it is, a date in seconds since 1970; None where it is none, or not finite."""
    if value is None:
        return None
    number = instant(value).replace(tzinfo=UTC).timestamp() if kind == "date" else float(value)
    return number if math.isfinite(number) else None


def describe(name: str, kind: FieldType, values: Sequence[Any]) -> Field:
    """What a field holds, from the values of all items."""
    present = [value for value in values if value is not None]
    if kind in ("number", "integer"):
        return Field(name, kind, [], min(present, default=None), max(present, default=None))
    if kind == "date":
        ends = min(present, key=instant, default=None), max(present, key=instant, default=None)
        return Field(name, kind, [], *ends)
    return Field(name, kind, Counter(present).most_common(MAX_VALUES))
