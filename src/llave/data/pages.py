"""Pages of documents as pictures, named ``FILE.pdf#page=3`` (from 1) wherever a picture's path may stand.

A document is a PDF, or a TIFF of several pages. PDFs are opened and drawn where that can be killed
(:mod:`llave.data.bounded`): a few bytes of nested forms take for ever.
"""

import re
from pathlib import Path

from PIL import Image

from llave.data import pdf
from llave.data.bounded import run_bounded
from llave.data.decode import WHOLE_PIXELS, checked, decode
from llave.data.door import named
from llave.data.extras import need
from llave.data.formats import tiff
from llave.data.formats.read import read_structure
from llave.data.identity import legible
from llave.errors import DataError

__all__ = ["DPI", "MAX_PAGE_PIXELS", "SECONDS", "count_pages", "load_page", "page_paths", "page_text", "split_page"]

PAGE = re.compile(r"(.+\.(?:pdf|tiff?))#page=([0-9]{1,9})", re.DOTALL | re.IGNORECASE)
DPI = 144
"""Dots per inch at which a page is drawn: A4 is 1190 x 1684 pixels."""
MAX_PAGE_PIXELS = 16_000_000
SECONDS = 20.0
"""To draw a page, or to count them."""


def split_page(path: str | Path) -> tuple[Path, int | None]:
    """``("FILE.pdf", 3)`` of ``FILE.pdf#page=3``; the path itself and None if it names no page."""
    match = PAGE.fullmatch(str(path))
    return (Path(match[1]), int(match[2])) if match else (Path(path), None)


def load_page(
    path: str | Path, page: int, *, dpi: float = DPI, max_pixels: int = MAX_PAGE_PIXELS, seconds: float = SECONDS
) -> Image.Image:
    """A page in RGB: of a PDF drawn on white, filled forms included; of a TIFF as it is. Safe to call from threads.

    Args:
        path: the document.
        page: from 1.
        dpi: dots per inch, of a PDF.
        max_pixels: a PDF's page that would have more is drawn smaller (posters, plans).
        seconds: to draw it.

    Raises:
        DataError: the file is missing, encrypted, corrupt, larger than 512 MiB, has no such page, or one that takes
            too long.
        UserError: pypdfium2 is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such document")
    if path.suffix.lower() != ".pdf":
        return run_bounded(tiff_page, path, page, seconds=seconds, name=str(path))
    need("pypdfium2", "pages of PDF documents")
    return run_bounded(pdf.draw, path, page, dpi, max_pixels, seconds=seconds, name=str(path))


def page_text(path: str | Path, page: int, *, most: int, seconds: float = SECONDS) -> str:
    """The text that a PDF's page has beside its picture, as a program can read it; empty of a scan and of a TIFF.

    Args:
        page: from 1.
        most: characters.
        seconds: to read it.

    Raises:
        DataError: as :func:`load_page`.
        UserError: pypdfium2 is not installed.
    """
    path = Path(path)
    if path.suffix.lower() != ".pdf":
        return ""
    need("pypdfium2", "pages of PDF documents")
    found = run_bounded(pdf.text, path, page, most, seconds=seconds, name=str(path))
    return legible(found.replace("\0", " ").replace("\r\n", "\n")).strip()


def page_paths(folder: str | Path) -> list[str]:
    """Every page of every PDF below a folder, as ``DIR/FILE.pdf#page=N`` relative to it: an :class:`RowItem`'s image.

    Raises:
        DataError: a document that cannot be opened, or no PDF in the folder.
        UserError: pypdfium2 is not installed.
    """
    folder = Path(folder)
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".pdf" and path.is_file())
    if not files:
        raise DataError(f"{folder}: no PDF in this folder")
    return [
        f"{file.relative_to(folder).as_posix()}#page={number}"
        for file in files
        for number in range(1, count_pages(file) + 1)
    ]


def count_pages(path: str | Path, *, seconds: float = SECONDS) -> int:
    """Pages of a document; of a picture in TIFF without pages, 1. Smaller copies and masks in a TIFF are no pages.

    Raises:
        DataError: it cannot be opened, or has pages without end.
        UserError: pypdfium2 is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such document")
    if path.suffix.lower() != ".pdf":
        with named(str(path)), path.open("rb") as file:
            return max(1, sum(1 for _ in tiff.pages(file)))
    need("pypdfium2", "pages of PDF documents")
    return run_bounded(pdf.count, path, seconds=seconds, name=str(path))


def tiff_page(path: Path, page: int) -> Image.Image:
    """To be run where it can be killed."""
    Image.MAX_IMAGE_PIXELS = None  # our own limit holds
    return decode(checked(read_structure(path, page), WHOLE_PIXELS))
