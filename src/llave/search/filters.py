"""Conditions on an index's fields, as a tree: never handed to a database as written.

A value is the word that the user wrote; what it means, the field's type says (:mod:`llave.search.fields`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from llave.errors import UserError

__all__ = [
    "EVERYTHING",
    "And",
    "Bounds",
    "Condition",
    "Filter",
    "Not",
    "Or",
    "Value",
    "as_filter",
    "filter_from_json",
    "parse_filter",
]

Op = Literal["=", "<", "<=", ">", ">=", "in", "like", "ilike", "starts", "null"]
OPS = get_args(Op)
NEGATED = {"!=": "=", "not in": "in", "not like": "like", "not ilike": "ilike", "not starts": "starts"}
Value = str | int | float | bool | datetime
MAX_TEXT = 20_000
MAX_CONDITIONS = 100
MAX_DEPTH = 12
MAX_VALUES = 1000


@dataclass(frozen=True, slots=True)
class Condition:
    """A field, an operator and a value; a tuple of values for ``in``, None for ``null``: no value is there.

    Of an item without the field, only ``null`` is true.
    """

    field: str
    op: Op
    value: Value | tuple[Value, ...] | None = None


@dataclass(frozen=True, slots=True)
class Not:
    """What does not pass, so that items without the field do."""

    part: "Filter"


@dataclass(frozen=True, slots=True)
class And:
    """All must hold; without parts everything passes."""

    parts: tuple["Filter", ...] = ()


@dataclass(frozen=True, slots=True)
class Or:
    """One must hold; without parts nothing passes."""

    parts: tuple["Filter", ...] = ()


Filter = Condition | Not | And | Or
EVERYTHING = And()


class Bounds:
    """Makes conditions of one filter, until there are too many or they stand too deep.

    Args:
        shown: of the filter, for messages.
    """

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._count = 0

    def condition(self, field: str, op: str, value: Any) -> Filter:
        """A condition; one that an operator negates is a :class:`Not`.

        Raises:
            UserError: no such operator, no value that it takes, or one condition too many.
        """
        self._count += 1
        if self._count > MAX_CONDITIONS:
            raise self.bad(f"more than {MAX_CONDITIONS} conditions")
        if value is None and op in ("=", "!="):
            missing = Condition(field, "null")
            return missing if op == "=" else Not(missing)
        if op in NEGATED:
            return Not(self._plain(field, NEGATED[op], value))
        return self._plain(field, op, value)

    def deeper(self, depth: int) -> int:
        """One level more.

        Raises:
            UserError: too many.
        """
        if depth >= MAX_DEPTH:
            raise self.bad(f"more than {MAX_DEPTH} brackets or `not` within one another")
        return depth + 1

    def bad(self, why: str) -> UserError:
        """An error about this filter."""
        return UserError(f"filter {self._shown[:80]!r}: {why}")

    def _plain(self, field: str, op: str, value: Any) -> Condition:
        if op not in OPS or op == "null":
            raise self.bad(f"no operator {op!r} for {field!r}; there are: {', '.join((*OPS[:-1], *NEGATED))}")
        values = value if op == "in" else [value]
        if not isinstance(values, list) or not 1 <= len(values) <= MAX_VALUES:
            raise self.bad(f"{field!r} {op} takes {'a list of 1 to 1,000 values' if op == 'in' else 'a value'}")
        words = tuple(self._word(field, each) for each in values)
        return Condition(field, op, words if op == "in" else words[0])  # type: ignore[arg-type]

    def _word(self, field: str, value: Any) -> str:
        """A value as a user writes it."""
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, int | float):
            if not abs(value) < 2**64 and (isinstance(value, int) or not math.isfinite(value)):
                digits = "a number of many digits" if isinstance(value, int) else str(value)
                raise self.bad(f"{field!r} is compared with {digits}, which is no finite number of 64 bits")
            return str(int(value)) if isinstance(value, float) and value == int(value) else str(value)
        raise self.bad(f"{field!r} is compared with {value!r:.40}; a text, number, truth value or null can be")


def as_filter(filter: "Filter | str") -> "Filter":
    """A filter, or the line that one is written in.

    Raises:
        UserError: as :func:`parse_filter`.
    """
    return parse_filter(filter) if isinstance(filter, str) else filter


def parse_filter(text: str) -> Filter:
    """The conditions of a line; see :mod:`llave.search.filter_line`.

    Raises:
        UserError: it cannot be read.
    """
    return _from_json(text, Bounds(text), 0)


def filter_from_json(value: Any) -> Filter:
    """Conditions of ``{"artist": "noto", "year": {">=": 2000}, "group": ["animals", "food"], "rating": null}``.

    ``{"or": [FILTER, …]}``, ``{"and": [FILTER, …]}`` and ``{"not": FILTER}`` join and negate filters; a field of such a
    name is written ``{"`or`": …}``. A text is a line, wherever a filter is. None lets everything pass.

    Raises:
        UserError: another form.
    """
    return _from_json(value, Bounds(value if isinstance(value, str) else "as JSON"), 0)


def _from_json(value: Any, bounds: Bounds, depth: int) -> Filter:
    if value is None:
        return EVERYTHING
    if isinstance(value, str):
        from llave.search.filter_line import parse_line

        if len(value) > MAX_TEXT:
            raise bounds.bad(f"{len(value):,} characters; there may be {MAX_TEXT:,}")
        return parse_line(value, bounds, depth)
    if not isinstance(value, Mapping) or len(value) > MAX_CONDITIONS:
        raise bounds.bad(f"a line, or an object of at most {MAX_CONDITIONS} fields with values")
    parts: list[Filter] = []
    for name, wanted in value.items():
        if name == "not":
            parts.append(Not(_from_json(wanted, bounds, bounds.deeper(depth))))
        elif name in ("and", "or"):
            if not isinstance(wanted, list) or not 1 <= len(wanted) <= MAX_CONDITIONS:
                raise bounds.bad(f"{name!r} takes a list of 1 to {MAX_CONDITIONS} filters; a field is written `{name}`")
            inner = tuple(_from_json(part, bounds, bounds.deeper(depth)) for part in wanted)
            parts.append(And(inner) if name == "and" else Or(inner))
        else:
            parts += _of_field(name[1:-1] if len(name) > 2 and name[0] == name[-1] == "`" else name, wanted, bounds)
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _of_field(name: str, wanted: Any, bounds: Bounds) -> list[Filter]:
    if isinstance(wanted, Mapping) and wanted:
        return [bounds.condition(name, op, operand) for op, operand in wanted.items()]
    return [bounds.condition(name, "in" if isinstance(wanted, list) else "=", wanted)]
