"""Drawings in the packages, which of them show the same picture, and their colours."""

import io
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

from llave.data.door import named
from llave.errors import DataError
from llave.sample.fetch import DAMAGED

__all__ = ["Thumbnails", "copies", "drawing", "read_drawings", "same_drawings", "thumbnails"]

Thumbnails = dict[str, NDArray[np.uint8]]

MAX_BYTES = 4_000_000  # of one picture in a package
THUMBNAIL = 32  # pixels
BLOCKS = 4  # a side, of which thumbnails are first compared
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


def thumbnails(drawings: Mapping[str, bytes]) -> Thumbnails:
    """Of each drawing a small one (height, width, premultiplied RGBA)."""
    found = {}
    for code, data in drawings.items():
        image = Image.open(io.BytesIO(data)).convert("RGBA").convert("RGBa")
        found[code] = np.asarray(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
    return found


def copies(one: Thumbnails, other: Thumbnails) -> list[str]:
    """The keys, sorted, that both draw alike."""
    return [code for code in sorted(one.keys() & other.keys()) if _alike(one[code], other[code])]


def same_drawings(small: Thumbnails) -> list[tuple[str, str]]:
    """Pairs of keys, sorted, that are drawn alike."""
    codes = sorted(small)
    if not codes:
        return []
    small_NHWC = np.stack([small[code] for code in codes]).astype(np.float32)
    # Sums over blocks differ by no more than their pixels do together, and a tree of few dimensions is quick.
    size = THUMBNAIL // BLOCKS
    block_ND = small_NHWC.reshape(len(codes), BLOCKS, size, BLOCKS, size, 4).sum(axis=(2, 4)).reshape(len(codes), -1)
    near = cKDTree(block_ND).query_pairs(1.01 * SAME_WITHIN * small_NHWC[0].size, p=1)
    return [(codes[i], codes[j]) for i, j in sorted(near) if _alike(small[codes[i]], small[codes[j]])]


def _alike(one_HWC: NDArray[np.uint8], other_HWC: NDArray[np.uint8]) -> bool:
    return bool(np.abs(one_HWC.astype(np.float32) - other_HWC).mean() < SAME_WITHIN)
