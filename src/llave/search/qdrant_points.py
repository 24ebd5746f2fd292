"""A row as a point of a Qdrant collection, and back."""

import base64
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np

from llave.collection.types import FieldType, cast
from llave.search.names import column_of, field_of
from llave.search.store import Row

__all__ = ["TEXTS", "WORDED", "id_of", "known_point", "payload_of", "point_of", "row_of", "vector_of"]

TEXTS = ("source", "key", "kind", "text", "path", "file", "stamp", "content", "digest")
"""Keys of a payload beside its fields."""
WORDED = "worded"
"""Key of whether a point has its words."""


def point_of(row_id: str) -> str:
    return str(uuid.UUID(hex=row_id))


def known_point(row_id: str) -> str | None:
    """None of what cannot be an id: whoever asks for it learns that there is no such item."""
    try:
        return point_of(row_id)
    except ValueError:
        return None


def id_of(point: Any) -> str:
    return uuid.UUID(str(point)).hex


def vector_of(row: Row) -> list[float]:
    if row.vector_D is None:
        raise ValueError(f"{row.id}: a row without a vector")
    return [float(value) for value in row.vector_D]


def payload_of(row: Row, types: Mapping[str, FieldType]) -> dict[str, Any]:
    payload = {name: getattr(row, name) for name in TEXTS}
    fields = {
        column_of(name): None if value is None else cast(value, types[name]) for name, value in row.fields.items()
    }
    return {**payload, "thumbnail": base64.b64encode(row.thumbnail).decode(), "fields": fields, WORDED: True}


def row_of(point: Any) -> Row:
    payload = point.payload
    return Row(
        id=id_of(point.id),
        **{name: payload[name] for name in TEXTS},
        thumbnail=base64.b64decode(payload.get("thumbnail", "")),
        fields={field_of(name): value for name, value in payload["fields"].items()},
        vector_D=None if point.vector is None else np.asarray(_dense(point.vector), np.float32),
    )


def _dense(vector: Any) -> Any:
    """Of a point that has words, too."""
    return vector[""] if isinstance(vector, dict) else vector
