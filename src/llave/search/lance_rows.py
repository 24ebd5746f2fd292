"""A row of an index as one of a LanceDB table, and back."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from llave.search.lance_prefix import is_prefix, matrix_of
from llave.search.lance_types import NEW
from llave.search.lance_words import WORD_COLUMNS
from llave.search.names import field_of
from llave.search.store import Row

__all__ = ["FEW", "OWN", "TEXTS", "is_field", "rows_of", "values_of", "vector_of"]

TEXTS = ("id", "source", "key", "kind", "text", "path", "file", "stamp", "content", "digest")
OWN = (*TEXTS, "thumbnail", "vector", *WORD_COLUMNS)
FEW = ("source", "kind")
"""Columns in which many rows have the same text."""
SCORES = ("_distance", "_score")


def is_field(column: str) -> bool:
    return column not in OWN and not column.endswith(NEW) and not is_prefix(column)


def rows_of(found: pa.Table) -> list[Row]:
    """The rows of a table's answer, in its order; of what they have only the columns that were asked for."""
    names = found.column_names
    texts = [[value or "" for value in found[name].to_pylist()] for name in TEXTS]
    fields = [name for name in names if is_field(name) and name not in SCORES]
    labels = [field_of(name) for name in fields]
    values = zip(*(found[name].to_pylist() for name in fields), strict=True) if fields else [()] * len(found)
    empty = [None] * len(found)
    thumbnails = found["thumbnail"].to_pylist() if "thumbnail" in names else empty
    vectors = matrix_of(found["vector"]) if "vector" in names else empty
    return [
        Row(
            **dict(zip(TEXTS, own, strict=True)),
            thumbnail=thumbnail or b"",
            fields=dict(zip(labels, row, strict=True)),
            vector_D=vector_D,
        )
        for *own, thumbnail, row, vector_D in zip(*texts, thumbnails, values, vectors, strict=True)
    ]


def values_of(column: pa.ChunkedArray, *, few: bool = False) -> list[Any]:
    """A column's values; of few different texts each is one object, and not one a row."""
    if not few:
        found: list[Any] = column.to_pylist()
        return found
    encoded = column.combine_chunks().dictionary_encode()
    texts = [*encoded.dictionary.to_pylist(), None]
    return [texts[place] for place in encoded.indices.fill_null(len(texts) - 1).to_pylist()]


def vector_of(row: Row) -> NDArray[np.float32]:
    if row.vector_D is None:
        raise ValueError(f"{row.id}: a row without a vector")
    return np.asarray(row.vector_D, np.float32)
