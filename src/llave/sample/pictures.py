"""The artists, their drawings in the packages, and which drawings show the same picture."""

import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from scipy.spatial import cKDTree

from llave.errors import DataError

__all__ = ["ARTISTS", "TRAINED_ARTISTS", "Artist", "Drawings", "canonical", "drawing", "read_drawings", "same_drawings"]

Drawings = dict[str, dict[str, bytes]]
"""Encoded picture by artist key and canonical hexcode."""
MAX_BYTES = 4_000_000  # of one picture in a package
THUMBNAIL = 32  # pixels
SAME_WITHIN = 2.5  # mean absolute difference of premultiplied RGBA thumbnails, in units of 1/255


@dataclass(frozen=True, slots=True)
class Artist:
    """A set of drawings: where it lies in its package, and the size in pixels at which it is saved."""

    key: str
    title: str
    package: str
    folder: str
    size: int


ARTISTS = (
    Artist("noto", "Noto", "emoji-datasource-google", "package/img/google/64", 64),
    Artist("fluent", "Fluent 3D", "@lobehub/fluent-emoji-3d", "package/assets", 128),
    Artist("twemoji", "Twemoji", "emoji-datasource-twitter", "package/img/twitter/64", 64),
)
TRAINED_ARTISTS = ("noto", "fluent")


def canonical(hexcode: str) -> str:
    """Lower case, without variation selectors and leading zeros: ``"002A-FE0F-20E3"`` → ``"2a-20e3"``."""
    codes = (code.lstrip("0") for code in hexcode.lower().split("-"))
    return "-".join(code for code in codes if code != "fe0f")


def read_drawings(tarball: Path, artist: Artist, wanted: Iterable[str]) -> dict[str, bytes]:
    """The artist's pictures of the wanted hexcodes, encoded. Nothing is extracted to disk.

    Raises:
        DataError: the tarball cannot be read, or has none of the pictures.
    """
    wanted = set(wanted)
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(tarball) as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                if not member.isfile() or str(path.parent) != artist.folder or member.size > MAX_BYTES:
                    continue
                code = canonical(path.stem)
                handle = archive.extractfile(member) if code in wanted and code not in found else None
                if handle is not None:
                    found[code] = handle.read()
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{tarball}: cannot read ({error}); delete it to fetch it again") from None
    if not found:
        raise DataError(f"{tarball}: no pictures under {artist.folder}; delete it to fetch it again")
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
    """Pairs of hexcodes that are drawn alike, sorted.

    Args:
        one, other: encoded drawings by hexcode.
        across: compare each hexcode of ``one`` with the same of ``other`` only; otherwise all pairs.
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
