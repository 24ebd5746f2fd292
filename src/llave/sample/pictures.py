"""Drawings in the packages, which of them show the same picture, and their colours."""

import io
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from scipy.spatial import cKDTree

from llave.data.door import named
from llave.errors import DataError
from llave.sample.fetch import DAMAGED

__all__ = ["drawing", "read_drawings", "same_drawings"]

MAX_BYTES = 4_000_000  # of one picture in a package
THUMBNAIL = 32  # pixels
SAME_WITHIN = 2.5  # mean absolute difference of premultiplied RGBA thumbnails, in units of 1/255


def read_drawings(
    tarball: Path, folder: str, name: Callable[[str], str], wanted: Iterable[str] | None = None
) -> dict[str, bytes]:
    """The files of a folder by name, as they are; the first of a name counts. Nothing is extracted to disk.

    Args:
        name: of a file without its ending.
        wanted: names; all without it.

    Raises:
        DataError: the tarball cannot be read, or has none of the pictures.
    """
    chosen = None if wanted is None else set(wanted)
    found: dict[str, bytes] = {}
    with named(str(tarball), DAMAGED), tarfile.open(tarball) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if not member.isfile() or str(path.parent) != folder or member.size > MAX_BYTES:
                continue
            key = name(path.stem)
            if key in found or (chosen is not None and key not in chosen):
                continue
            handle = archive.extractfile(member)
            if handle is not None:
                found[key] = handle.read()
    if not found:
        raise DataError(f"{tarball}: no pictures under {folder}; delete it to fetch it again")
    return found


def drawing(data: bytes, size: int) -> Image.Image:
    """Decode a drawing to RGBA, ``size`` pixels square, with transparency kept."""
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    if image.size == (size, size):
        return image
    # Premultiplied ("RGBa"), so that invisible colours do not bleed into the edge.
    return image.convert("RGBa").resize((size, size), Image.Resampling.LANCZOS).convert("RGBA")


def same_drawings(
    one: Mapping[str, bytes], other: Mapping[str, bytes], *, across: bool = False
) -> list[tuple[str, str]]:
    """Pairs of keys that are drawn alike, sorted.

    Args:
        one, other: encoded drawings by key.
        across: compare each key of ``one`` with the same of ``other`` only; otherwise all pairs.
    """
    if across:
        shared = sorted(one.keys() & other.keys())
        near = np.abs(_thumbnails(one, shared) - _thumbnails(other, shared)).mean(axis=1)
        return [(code, code) for code, distance in zip(shared, near, strict=True) if distance < SAME_WITHIN]
    codes = sorted(one)
    thumbnails = _thumbnails(one, codes)
    # The tree sums in another order than the mean below, hence the margin.
    near = cKDTree(thumbnails).query_pairs(1.01 * SAME_WITHIN * thumbnails.shape[1], p=1)
    return [(codes[i], codes[j]) for i, j in sorted(near) if np.abs(thumbnails[i] - thumbnails[j]).mean() < SAME_WITHIN]


def _thumbnails(drawings: Mapping[str, bytes], codes: list[str]) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    rows = np.zeros((len(codes), THUMBNAIL * THUMBNAIL * 4), np.float32)
    for row, code in enumerate(codes):
        image = Image.open(io.BytesIO(drawings[code])).convert("RGBA").convert("RGBa")
        rows[row] = np.asarray(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX), np.float32).ravel()
    return rows
