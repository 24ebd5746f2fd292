"""Vectors as clients want them: shortened, as numbers, as base64, or in fewer bits."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_type", "base64_of", "shorten"]

Floats = NDArray[np.float32]


def shorten(vector_D: Floats, dimensions: int, *, normalize: bool = True) -> Floats:
    """The first numbers of a unit vector, a unit vector again if ``normalize``."""
    if dimensions == len(vector_D):
        return vector_D
    head_D = vector_D[:dimensions]
    norm = float(np.linalg.norm(head_D))
    return head_D / np.float32(norm) if normalize and norm > 0 else head_D


def base64_of(vector_D: Floats) -> str:
    """Little-endian float32 in base64, as OpenAI's client decodes it."""
    return base64.b64encode(vector_D.astype("<f4", copy=False).tobytes()).decode("ascii")


def as_type(vector_D: Floats, kind: str) -> Any:
    """A vector as Cohere's ``embedding_types`` name it.

    int8 and uint8 are scaled so that the largest number of the vector is 127 away from the middle: its direction is
    kept, its length is not. binary and ubinary hold a bit per number, 1 where it is positive, eight to a byte; the
    number of dimensions is filled up with zeros to a multiple of eight.
    """
    if kind == "float":
        return vector_D.tolist()
    if kind == "base64":
        return base64_of(vector_D)
    if kind in {"int8", "uint8"}:
        largest = float(np.abs(vector_D).max()) or 1.0
        level_D = np.round(vector_D * (127 / largest)).astype(np.int16)
        return (level_D + (128 if kind == "uint8" else 0)).tolist()
    packed = np.packbits(vector_D > 0)
    return (packed if kind == "ubinary" else packed.astype(np.int16) - 128).tolist()
