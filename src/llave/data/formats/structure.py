"""What the structure of a file says before anything is decoded, and what of the file its decoder is given."""

import struct
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Structure", "Unreadable", "cut_off", "unpack", "without"]


class Unreadable(Exception):
    """What is wrong with a picture; who knows its name makes a :class:`~llave.errors.DataError` of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """A picture, measured.

    Args:
        format: as Pillow names it.
        width, height: as stored, in pixels; of the canvas where there are frames.
        data: the file for its decoder, without what is not pixels: metadata cannot cost a picture. A path where pages
            are read one by one.
        orientation: 1 to 8, EXIF's.
        frames: of an animation; 1 of a picture.
        passes: times that a decoder goes over all pixels (the scans of a JPEG).
        least_bytes: that so many pixels take.
        directory: of the page in a TIFF.
    """

    format: str
    width: int
    height: int
    data: bytes | Path
    orientation: int = 1
    frames: int = 1
    passes: int = 1
    least_bytes: int = 0
    directory: int = 0

    @property
    def pixels(self) -> int:
        return self.width * self.height


def without(data: bytes, dropped: list[tuple[int, int]]) -> bytes:
    """``data`` less some ranges, in order."""
    if not dropped:
        return data
    starts = [0, *(end for _, end in dropped)]
    ends = [*(start for start, _ in dropped), len(data)]
    return b"".join(data[start:end] for start, end in zip(starts, ends, strict=True))


def cut_off(form: str) -> Unreadable:
    return Unreadable(f"truncated or corrupt: the {form} ends within its header")


def unpack(form: str, data: bytes, at: int) -> tuple[int, ...]:
    """struct's, with our error.

    Raises:
        Unreadable: the data end before.
    """
    try:
        return struct.unpack_from(form, data, at)
    except struct.error:
        raise cut_off("file") from None
