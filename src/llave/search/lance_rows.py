"""A row of an index as one of a LanceDB table, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from llave.search.lance_prefix import is_prefix
from llave.search.lance_types import NEW
from llave.search.lance_words import WORD_COLUMNS
from llave.search.names import field_of
from llave.search.store import Row

__all__ = ["FEW", "OWN", "TEXTS", "is_field", "row_of", "values_of", "vector_of"]

TEXTS = ("id", "source", "key", "kind", "text", "path", "file", "stamp", "content", "digest")
OWN = (*TEXTS, "thumbnail", "vector", *WORD_COLUMNS)
FEW = ("source", "kind")
"""Columns in which many rows have the same text."""
SCORES = ("_distance", "_score")


def is_field(column: str) -> bool:
    return column not in OWN and not column.endswith(NEW) and not is_prefix(column)


def row_of(found: Mapping[str, Any]) -> Row:
    vector = found.get("vector")
    return Row(
        **{name: found[name] or "" for name in TEXTS},
        thumbnail=found.get("thumbnail") or b"",
        fields={field_of(name): found[name] for name in found if is_field(name) and name not in SCORES},
        vector_D=None if vector is None else np.asarray(vector, np.float32),
    )


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
