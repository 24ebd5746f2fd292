"""Open a picture safely: bounded in pixels and time, fully decoded, upright, and in RGB.

Every picture that reaches a model goes through :func:`load_image`. Its structure is read first
(:mod:`llave.data.formats`); what is plainly quick is decoded at once in the calling thread, all else where it can be
killed (:mod:`llave.data.bounded`).
"""

import stat
from pathlib import Path

from PIL import Image

from llave.data.bounded import run_bounded
from llave.data.decode import MAX_PIXELS, checked, decode, decoded_size
from llave.data.door import named
from llave.data.formats.read import read_structure
from llave.data.formats.structure import Structure, Unreadable
from llave.data.orientation import upright
from llave.data.pages import MAX_PAGE_PIXELS, SECONDS, load_page, split_page
from llave.data.rgb import to_rgb
from llave.errors import DataError

__all__ = ["MAX_PIXELS", "SECONDS", "load_image", "picture_size", "to_rgb", "upright"]

MAX_BYTES = 1024**3
QUICK = {"JPEG", "PNG", "WEBP", "GIF", "BMP"}
QUICK_BYTES = 64 * 1024**2
QUICK_PIXELS = 24_000_000
QUICK_WORK = 12 * QUICK_PIXELS
"""Pixels times passes over them: a progressive JPEG from a large camera."""


def load_image(source: str | Path | bytes, *, max_pixels: int = MAX_PIXELS, seconds: float = SECONDS) -> Image.Image:
    """Decode the picture at a path, or in bytes, to 8-bit RGB, upright. Safe to call from threads.

    A picture of more than 24 million pixels is given reduced by a whole number, to no more than that.

    Args:
        source: a file path; ``FILE.pdf#page=3`` or ``FILE.tif#page=3`` (a page, from 1; a PDF's is drawn at 144 dpi);
            or the encoded bytes.
        max_pixels: pictures with more are refused before they are decoded, and all but JPEG from 180 million on; a
            PDF's page is drawn smaller.
        seconds: for what may be slow.

    Raises:
        DataError: missing, truncated, too large, too slow, or not a picture; the message names the file.
        UserError: a package is missing for its format.
    """
    if not isinstance(source, bytes):
        document, page = split_page(source)
        if page is not None:
            most = min(max_pixels, MAX_PAGE_PIXELS)
            return load_page(document, page, max_pixels=most, seconds=seconds)
        if document.suffix.lower() == ".pdf":
            raise DataError(f"{source}: a document; name a page of it: {document.name}#page=1")
        source = document
    name = f"{len(source)} bytes" if isinstance(source, bytes) else str(source)
    with named(name):
        data = source if isinstance(source, bytes) else _read(source, QUICK_BYTES)
        if data is not None:
            structure = checked(read_structure(data), max_pixels)
            if _is_quick(structure):
                return decode(structure)
    return run_bounded(decode_checked, source, max_pixels, seconds=seconds, name=name)


def picture_size(head: bytes) -> tuple[int, int] | None:
    """Height and width that a picture will have, from its file's first block. None: untold; loading says why."""
    try:
        return decoded_size(read_structure(head))
    except Exception:  # whatever a broken head leads to
        return None


def decode_checked(source: bytes | Path, max_pixels: int) -> Image.Image:
    """What :func:`load_image` does with a slow picture; to be run where it can be killed."""
    Image.MAX_IMAGE_PIXELS = None  # our own limit holds
    data = source if isinstance(source, bytes) else _read(source, MAX_BYTES)
    if data is None:
        raise Unreadable(f"more than {MAX_BYTES:,} bytes, the limit for a picture; shrink it")
    return decode(checked(read_structure(data), max_pixels))


def _read(path: Path, most: int) -> bytes | None:
    """The file; None if it has more bytes."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise Unreadable("no such picture") from None
    if not stat.S_ISREG(found.st_mode):  # a pipe does not end
        raise Unreadable("not a file")
    if found.st_size > most:
        return None
    with path.open("rb", buffering=0) as file:
        return file.readall()


def _is_quick(structure: Structure) -> bool:
    return (
        structure.format in QUICK
        and structure.pixels <= QUICK_PIXELS
        and structure.pixels * structure.passes <= QUICK_WORK
    )
