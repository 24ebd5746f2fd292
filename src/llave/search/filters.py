"""Conditions on an index's fields: read from a line or from JSON, never handed to a database as written."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from llave.errors import UserError

__all__ = ["Condition", "Filter", "field_name", "filter_from_json", "parse_filter"]

Op = Literal["=", "!=", "<", "<=", ">", ">=", "in"]
OPS: tuple[str, ...] = get_args(Op)
Value = str | float | bool
_TOKEN = re.compile(r"""\s*(?:(<=|>=|!=|==|=|<|>|\(|\)|,)|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s()<>=!,"']+))""")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
MAX_CONDITIONS = 32
MAX_VALUES = 1000


@dataclass(frozen=True, slots=True)
class Condition:
    """A field, an operator and a value; a tuple of values for ``in``."""

    field: str
    op: Op
    value: Value | tuple[Value, ...]


Filter = tuple[Condition, ...]
"""All must hold; empty lets everything pass."""


def field_name(name: str) -> str:
    """A metadata name as a column of an index: letters of any script, digits and ``_``."""
    clean = re.sub(r"\W", "_", name)
    return f"_{clean}" if clean[:1].isdigit() or not clean else clean


def parse_filter(text: str) -> Filter:
    """Conditions of a line such as ``artist = noto and year >= 2000 and group in (animals, "food & drink")``.

    A value in quotes is a text; one without is a number or truth value if it looks like one.

    Raises:
        UserError: anything else; ``or`` and brackets around conditions are not supported, ``in`` often serves.
    """
    tokens = _tokens(text)
    conditions: list[Condition] = []
    while tokens:
        if conditions and tokens.pop(0).lower() != "and":
            raise _bad(text, "conditions are joined by `and`; for one of several values write: field in (a, b)")
        conditions.append(_condition(text, tokens))
        if len(conditions) > MAX_CONDITIONS:
            raise _bad(text[:80], f"more than {MAX_CONDITIONS} conditions")
    return tuple(conditions)


def filter_from_json(value: Any) -> Filter:
    """Conditions of ``{"artist": "noto", "year": {">=": 2000}, "group": ["animals", "food"]}``, or of a line.

    Raises:
        UserError: another form.
    """
    if value is None:
        return ()
    if isinstance(value, str):
        return parse_filter(value)
    if not isinstance(value, Mapping) or len(value) > MAX_CONDITIONS:
        raise UserError(f"filter: an object of at most {MAX_CONDITIONS} fields with values, or a line")
    conditions: list[Condition] = []
    for name, wanted in value.items():
        if isinstance(wanted, Mapping):
            conditions += [_checked(name, op, operand) for op, operand in wanted.items()]
        else:
            conditions.append(_checked(name, "in" if isinstance(wanted, list) else "=", wanted))
    return tuple(conditions)


def _checked(name: str, op: str, value: Any) -> Condition:
    if op not in OPS:
        raise UserError(f"filter: no operator {op!r} for {name!r}; there are: {', '.join(OPS)}")
    values = value if op == "in" else [value]
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_VALUES or not all(map(_is_value, values)):
        raise UserError(
            f"filter: {name!r} {op} takes a text, number or truth value; `in` a list of 1 to {MAX_VALUES:,}"
        )
    plain = tuple(_number(name, v) if isinstance(v, int | float) and not isinstance(v, bool) else v for v in values)
    return Condition(name, op, plain if op == "in" else plain[0])  # type: ignore[arg-type]


def _number(name: str, value: float) -> float:
    """What a store can compare with: Python's integers are larger than any of its numbers."""
    if not -sys.float_info.max <= value <= sys.float_info.max:  # also of nan
        raise UserError(f"filter: {name!r} is compared with {str(value)[:20]}, which is no finite number")
    return float(value)


def _is_value(value: Any) -> bool:
    return isinstance(value, str | float | bool | int)


class _Quoted(str):
    """A value that stood in quotes: always a text."""


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position, text = 0, text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _bad(text, f"cannot read {text[position : position + 20].strip()!r}")
        symbol, double, single, word = match.groups()
        quoted = double if double is not None else single
        tokens.append(symbol or word or _Quoted(re.sub(r"\\(.)", r"\1", quoted)))
        position = match.end()
    return tokens


def _condition(text: str, tokens: list[str]) -> Condition:
    if len(tokens) < 3:
        raise _bad(text, "a condition is: field = value")
    name, op = tokens.pop(0), tokens.pop(0).lower().replace("==", "=")
    if op not in OPS:
        raise _bad(text, f"no operator {op!r}; there are: {', '.join(OPS)}")
    if op != "in":
        return _checked(name, op, _value(text, tokens.pop(0)))
    if tokens.pop(0) != "(":
        raise _bad(text, "write: field in (a, b)")
    values = []
    while True:
        if not tokens:
            raise _bad(text, "a bracket is not closed")
        values.append(_value(text, tokens.pop(0)))
        after = tokens.pop(0) if tokens else ""
        if after == ")":
            return _checked(name, "in", values)
        if after != ",":
            raise _bad(text, "values in brackets are separated by commas; quote those of several words")


def _value(text: str, token: str) -> Value:
    if isinstance(token, _Quoted):
        return str(token)
    if token in {"(", ")", ",", *OPS[:-1]}:
        raise _bad(text, f"a value was expected, not {token!r}")
    if token.lower() in {"true", "false"}:
        return token.lower() == "true"
    return float(token) if _NUMBER.fullmatch(token) else token


def _bad(text: str, why: str) -> UserError:
    return UserError(f"filter {text!r}: {why}")
