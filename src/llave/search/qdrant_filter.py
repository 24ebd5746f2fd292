"""A checked filter as Qdrant takes it."""

import re
from datetime import UTC, datetime
from typing import Any

from qdrant_client import models

from llave.collection.types import FieldType
from llave.errors import UserError
from llave.search.filters import EVERYTHING, And, Condition, Filter, Not
from llave.search.names import OWN_FIELDS

__all__ = ["SCHEMA", "as_qdrant", "payload_path"]

EXACT = 2**53
"""Qdrant's ranges are of numbers with a point, which hold every integer up to here."""
ENDS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}

SCHEMA: dict[FieldType, Any] = {
    "string": models.PayloadSchemaType.KEYWORD,
    "integer": models.PayloadSchemaType.INTEGER,
    "number": models.PayloadSchemaType.FLOAT,
    "boolean": models.PayloadSchemaType.BOOL,
    "date": models.PayloadSchemaType.DATETIME,
}


def as_qdrant(filter: Filter) -> models.Filter | None:
    """None lets everything pass.

    Raises:
        UserError: a condition that Qdrant has nothing for.
    """
    return None if filter == EVERYTHING else models.Filter(must=[_clause(filter)])


def payload_path(column: str) -> str:
    """Of a field in a payload; Qdrant reads anything but letters, digits and ``_`` in quotes only."""
    return f"fields.{column}" if re.fullmatch(r"\w+", column, re.ASCII) else f'fields."{column}"'


def _clause(filter: Filter) -> Any:
    if isinstance(filter, Condition):
        return _condition(filter)
    if isinstance(filter, Not):
        return models.Filter(must_not=[_clause(filter.part)])
    parts = [_clause(part) for part in filter.parts]
    if isinstance(filter, And):
        return models.Filter(must=parts)
    return models.Filter(should=parts) if parts else models.HasIdCondition(has_id=[])


def _condition(condition: Condition) -> Any:
    key = condition.field if condition.field in OWN_FIELDS else payload_path(condition.field)
    value: Any = condition.value
    if condition.op == "null":
        return models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
    if condition.op in ENDS:
        end = ENDS[condition.op]
        if isinstance(value, datetime):
            return models.FieldCondition(key=key, range=models.DatetimeRange(**{end: value.replace(tzinfo=UTC)}))
        if isinstance(value, int) and abs(value) > EXACT:
            raise UserError(f"filter: Qdrant compares integers up to 2^53 with {condition.op}; beyond them use = or in")
        return models.FieldCondition(key=key, range=models.Range(**{end: float(value)}))
    if condition.op == "in":
        return models.Filter(should=[_equal(key, each) for each in value])
    if condition.op == "=":
        return _equal(key, value)
    return models.FieldCondition(key=key, match=_match(condition.op, value))


def _equal(key: str, value: str | int | float | bool) -> Any:
    if isinstance(value, float):  # Qdrant matches whole numbers only
        return models.FieldCondition(key=key, range=models.Range(gte=value, lte=value))
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def _match(op: str, pattern: str) -> Any:
    """What a text is compared with, other than the whole of it.

    Raises:
        UserError: a pattern that Qdrant has nothing for.
    """
    if op == "starts":
        return models.MatchPrefix(prefix=pattern)
    inner = pattern.strip("%")
    if op == "like" and inner and not set("%_\\") & set(inner):
        if pattern == inner:
            return models.MatchValue(value=inner)
        if pattern == f"{inner}%":
            return models.MatchPrefix(prefix=inner)
        if pattern == f"%{inner}%":
            return models.MatchSubstring(substring=inner)
    raise UserError(
        f"filter: Qdrant finds texts with like 'beginning%' and like '%part%', not with {op} {pattern!r:.80}"
    )
