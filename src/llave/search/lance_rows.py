"""A row of an index as one of a LanceDB table, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llave.search.lance_prefix import is_prefix
from llave.search.lance_types import NEW
from llave.search.lance_words import WORD_COLUMNS
from llave.search.names import field_of
from llave.search.store import Row

__all__ = ["OWN", "TEXTS", "is_field", "row_of", "vector_of"]

TEXTS = ("id", "source", "key", "kind", "text", "path", "file", "stamp", "content", "digest")
OWN = (*TEXTS, "thumbnail", "vector", *WORD_COLUMNS)
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


def vector_of(row: Row) -> NDArray[np.float32]:
    if row.vector_D is None:
        raise ValueError(f"{row.id}: a row without a vector")
    return np.asarray(row.vector_D, np.float32)
