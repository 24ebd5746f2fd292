"""Vectors in fewer bytes: fewer dimensions, and other types of numbers."""

from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from llave.errors import UserError

__all__ = ["PRECISIONS", "Precision", "bits", "check_dimensions", "columns", "levels", "truncate", "vectors_of"]

Precision = Literal["float32", "float16", "int8", "binary"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
LEVELS = 127


def check_dimensions(dimensions: int | None, dimension: int, precision: Precision) -> int:
    """How many dimensions are kept.

    Raises:
        UserError: more than there are, or binary vectors that do not fill whole bytes.
    """
    kept = dimension if dimensions is None else dimensions
    if not 1 <= kept <= dimension:
        raise UserError(f"dimensions {kept}: the model has {dimension}")
    if precision == "binary" and kept % 8:
        raise UserError(f"dimensions {kept}: binary vectors are packed into bytes, so a multiple of 8")
    return kept


def truncate(vector_ND: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """The first dimensions, at unit length again (Matryoshka embeddings, arXiv 2205.13147)."""
    first_NK = vector_ND[:, :dimensions]
    norm_N1 = np.linalg.norm(first_NK, axis=1, keepdims=True)
    return np.asarray(first_NK / np.maximum(norm_N1, np.finfo(np.float32).tiny), np.float32)


def levels(vector_ND: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Numbers (N, D) from -127 to 127 and scales (N,): a vector is its numbers times its scale.

    The scale comes from each vector's own largest number, so that no calibration is needed and a vector does not depend
    on its shard.
    """
    scale_N = np.maximum(np.abs(vector_ND).max(axis=1), np.finfo(np.float32).tiny) / np.float32(LEVELS)
    return np.rint(vector_ND / scale_N[:, None]).astype(np.int8), scale_N.astype(np.float32)


def bits(vector_ND: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Bytes (N, D / 8, rounded up): a bit a dimension, set above zero, the first in a byte's highest bit, as
    sentence-transformers' ``ubinary``."""
    return np.packbits(vector_ND > 0, axis=1)


def columns(vector_ND: NDArray[np.float32], precision: Precision) -> dict[str, pa.Array]:
    """``vector``, and for int8 also ``scale``: the vector is ``vector * scale``. See :func:`levels`, :func:`bits`."""
    if precision == "int8":
        levels_ND, scale_N = levels(vector_ND)
        return {"vector": _fixed(levels_ND), "scale": pa.array(scale_N)}
    if precision == "binary":
        return {"vector": _fixed(bits(vector_ND))}
    return {"vector": _fixed(vector_ND.astype(precision))}


def vectors_of(table: pa.Table) -> NDArray[np.float32]:
    """Vectors (N, D) in float32 of a shard; of binary ones, -1 and 1."""
    column = table["vector"].combine_chunks()
    width = column.type.list_size
    flat: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    if flat.dtype == np.uint8:
        return np.unpackbits(flat, axis=1).astype(np.float32) * 2 - 1
    scale = table["scale"].to_numpy()[:, None] if "scale" in table.column_names else np.float32(1)
    return np.asarray(flat.astype(np.float32) * scale, np.float32)


def _fixed(array_NK: NDArray[np.generic]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(array_NK).reshape(-1)), array_NK.shape[1])
