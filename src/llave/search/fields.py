"""The types of metadata fields, and conditions that fit them."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llave.collection.entry import Scalar
from llave.errors import UserError
from llave.search.filters import Condition, Filter
from llave.search.store import FieldType

__all__ = ["OWN_FIELDS", "Field", "check_conditions", "check_sort", "describe", "in_order", "new_fields"]

OWN_FIELDS: Mapping[str, FieldType] = {"kind": "string", "path": "string", "key": "string", "source": "string"}
"""Of every row; conditions may use them."""
PYTHON: Mapping[FieldType, type] = {"string": str, "number": float, "boolean": bool}
MAX_VALUES = 50


@dataclass(frozen=True, slots=True)
class Field:
    """A metadata field: its most frequent values with their numbers of items, or its range."""

    name: str
    type: FieldType
    values: list[tuple[str | bool, int]]
    low: float | None = None
    high: float | None = None


def new_fields(known: Mapping[str, FieldType], fields: Sequence[Mapping[str, Scalar]]) -> dict[str, FieldType]:
    """Fields that are not known yet, with the types of their first values.

    Raises:
        UserError: a value of another type than the field's.
    """
    fresh: dict[str, FieldType] = {}
    for name, value in (pair for row in fields for pair in row.items()):
        if value is None:
            continue
        kind: FieldType = "boolean" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"
        expected = known.get(name) or fresh.setdefault(name, kind)
        if kind != expected:
            raise UserError(
                f"field {name!r} is {value!r:.80}, a {kind}, but a {expected} in other rows; give it one type, or "
                "leave it out (--columns.fields)"
            )
    return fresh


def check_conditions(conditions: Filter, fields: Mapping[str, FieldType]) -> Filter:
    """The conditions, their values in the types of the fields.

    Raises:
        UserError: no such field, or a value that cannot be of its type.
    """
    types = {**fields, **OWN_FIELDS}
    checked = []
    for condition in conditions:
        kind = types.get(condition.field)
        if kind is None:
            raise UserError(f"filter: no field {condition.field!r}; there are: {', '.join(sorted(types))}")
        if condition.op not in ("=", "!=", "in") and kind != "number":
            raise UserError(f"filter: {condition.op} compares numbers, and {condition.field} is a {kind}")
        values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
        values = tuple(_as_text(value) for value in values) if kind == "string" else values
        for value in values:
            if not isinstance(value, PYTHON[kind]) or (isinstance(value, float) and not math.isfinite(value)):
                raise UserError(f"filter: {condition.field} is a {kind}, and {value!r:.80} is none")
        checked.append(Condition(condition.field, condition.op, values if condition.op == "in" else values[0]))
    return tuple(checked)


def check_sort(sort: str | None, fields: Mapping[str, FieldType]) -> str:
    """The field to sort by; None is the key.

    Raises:
        UserError: no such field.
    """
    if sort is not None and sort not in {**fields, **OWN_FIELDS}:
        raise UserError(f"sort: no field {sort!r}; there are: {', '.join(sorted({**fields, **OWN_FIELDS}))}")
    return sort or "key"


def in_order(values: Sequence[Any], keys: Sequence[str], descending: bool) -> list[int]:
    """Places by value, those without one last; equal ones by key."""
    places = sorted(range(len(values)), key=keys.__getitem__)
    there = [place for place in places if values[place] is not None]
    there.sort(key=values.__getitem__, reverse=descending)  # stable, in reverse too
    return there + [place for place in places if values[place] is None]


def _as_text(value: Any) -> Any:
    """A number or truth value as it was written, since ``year = 2000`` may be about a text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return value


def describe(name: str, kind: FieldType, values: Sequence[Any]) -> Field:
    """What a field holds, from the values of all items."""
    present = [value for value in values if value is not None]
    if kind == "number":
        return Field(name, kind, [], min(present, default=None), max(present, default=None))
    return Field(name, kind, Counter(present).most_common(MAX_VALUES))
