"""The structure of any picture that is read at all, by its first bytes and never by its name.

This list is closed: a file cannot choose one of Pillow's forty other decoders.
"""

import io
import re
from collections.abc import Callable
from pathlib import Path

from llave.data.formats import gif, jpeg, png, tiff, webp
from llave.data.formats.others import read_bmp, read_boxes, read_ico, read_jpeg2000, read_ppm
from llave.data.formats.structure import Structure, Unreadable, cut_off

__all__ = ["is_tiff", "read_structure"]

READERS: tuple[tuple[re.Pattern[bytes], Callable[[bytes], Structure]], ...] = tuple(
    (re.compile(magic, re.DOTALL), reader)
    for magic, reader in (
        (rb"\xff\xd8\xff", jpeg.read),
        (rb"\x89PNG\r\n\x1a\n", png.read),
        (rb"RIFF....WEBPVP8", webp.read),
        (rb"GIF8[79]a", gif.read),
        (rb"BM", read_bmp),
        (rb"....ftyp", read_boxes),
        (rb"\x00\x00\x01\x00", read_ico),
        (rb"P[1-6]\s", read_ppm),
        (rb"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", read_jpeg2000),
    )
)
TIFF = re.compile(rb"II\*\0|MM\0\*|II\+\0|MM\0\+")


def is_tiff(head: bytes) -> bool:
    return TIFF.match(head) is not None


def read_structure(source: bytes | Path, page: int = 1) -> Structure:
    """What there is to decode.

    Args:
        source: the encoded bytes; of a TIFF, its path does.
        page: of a TIFF, from 1.

    Raises:
        Unreadable: not a picture of a known format, or not one that its decoder should see; without the file's name.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            return _tiff(source, file, page)
    if is_tiff(source):
        return _tiff(source, io.BytesIO(source), page)
    for magic, reader in READERS:
        if magic.match(source):
            return reader(source)
    raise Unreadable("not a picture that can be read")


def _tiff(source: bytes | Path, file: "io.BufferedReader | io.BytesIO", page: int) -> Structure:
    count = 0
    for count, (directory, tags) in enumerate(tiff.pages(file), 1):
        if count == page:
            width, height = tags.get(tiff.WIDTH, 0), tags.get(tiff.HEIGHT, 0)
            if width <= 0 or height <= 0:
                raise cut_off("TIFF")
            orientation = tags.get(tiff.ORIENTATION, 1)
            return Structure(
                format="TIFF", width=width, height=height, data=source, orientation=orientation, directory=directory
            )
    raise Unreadable(f"no page {page}; it has pages 1 to {count}" if count else "truncated or corrupt: an empty TIFF")
