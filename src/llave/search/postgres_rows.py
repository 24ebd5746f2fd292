"""A row of an index as one of a PostgreSQL table, and back.

Fields are one column of jsonb and not columns of their own: a field may have any name and there may be any number of
them, while PostgreSQL cuts names at 63 bytes and ends at 1,600 columns; and a new field or type locks no reader out.
What jsonb does not know, the registry's types tell: which texts are dates, and which numbers are no integers.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.types.json import Jsonb

from llave.collection.types import FieldType, Scalar, cast
from llave.search.names import column_of
from llave.search.store import Row

__all__ = [
    "SHOWN",
    "TEXTS",
    "VectorDumper",
    "as_field",
    "fields_of",
    "record_of",
    "row_of",
    "storable",
    "vector_from",
]

TEXTS = ("id", "source", "key", "kind", "text", "path", "file", "stamp", "content", "digest")
SHOWN = sql.SQL(", ").join(map(sql.Identifier, (*TEXTS, "fields")))
"""What a row is shown with."""
NUL = "\u2400"
"""Stands for the one character that PostgreSQL has not in its texts."""


def storable(value: Any) -> Any:
    """A value that PostgreSQL takes."""
    return value.replace("\0", NUL) if isinstance(value, str) else value


def fields_of(fields: Mapping[str, Scalar], types: Mapping[str, FieldType]) -> Jsonb:
    """What a row has a value of, by column."""
    return Jsonb(
        {column_of(name): storable(cast(value, types[name])) for name, value in fields.items() if value is not None}
    )


def as_field(value: Any, kind: FieldType) -> Scalar:
    """A value as it was before it was jsonb, where 1e22 is an integer."""
    return float(value) if kind == "number" and value is not None else value


def record_of(row: Row, types: Mapping[str, FieldType]) -> list[Any]:
    """Values of TEXTS, ``fields``, ``thumbnail`` and ``vector``, in this order."""
    if row.vector_D is None:
        raise ValueError(f"{row.id}: a row without a vector")
    texts = [storable(getattr(row, name)) for name in TEXTS]
    return [*texts, fields_of(row.fields, types), row.thumbnail, row.vector_D]


def row_of(
    found: Sequence[Any], types: Mapping[str, FieldType], *, thumbnail: bytes = b"", vector: bytes | None = None
) -> Row:
    """A row from the columns :data:`SHOWN`; every field that there is has a value or None."""
    fields = found[len(TEXTS)]
    return Row(
        **dict(zip(TEXTS, found[: len(TEXTS)], strict=True)),
        thumbnail=thumbnail,
        fields={name: as_field(fields.get(column_of(name)), kind) for name, kind in types.items()},
        vector_D=None if vector is None else vector_from(vector),
    )


class VectorDumper(Dumper):
    """A vector (D,) as PostgreSQL takes an array of reals: psycopg would pack number by number."""

    format = Format.BINARY
    oid = psycopg.postgres.types["float4"].array_oid

    def dump(self, obj: NDArray[np.float32]) -> bytes:
        """Its dimensions, no null, the type of what is in it, then how long and where it begins, and the numbers."""
        number_N = np.empty(len(obj), [("bytes", ">i4"), ("value", ">f4")])
        number_N["bytes"], number_N["value"] = 4, obj
        return struct.pack(">iiIii", 1, 0, psycopg.postgres.types["float4"].oid, len(obj), 1) + number_N.tobytes()


def vector_from(binary: bytes) -> NDArray[np.float32]:
    """A vector (D,) of pgvector's, as its server sends it: the number of dimensions and nothing in 16 bits each, then
    big-endian floats."""
    (dimension,) = struct.unpack_from(">H", binary)
    return np.frombuffer(binary, ">f4", dimension, offset=4).astype(np.float32)
