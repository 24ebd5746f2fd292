"""Pages of PDF documents as pictures, named ``FILE.pdf#page=3`` (from 1) wherever a picture's path may stand."""

import re
import threading
from pathlib import Path
from typing import Any

from PIL import Image

from llave.errors import DataError, UserError

__all__ = ["DPI", "count_pages", "load_page", "page_paths", "split_page"]

DPI = 144
"""Dots per inch at which a page is drawn: A4 is 1190 x 1684 pixels."""
MAX_PAGE_PIXELS = 16_000_000
MAX_BYTES = 512 * 1024**2
POINTS_PER_INCH = 72
WRONG_PASSWORD = 4  # FPDF_ERR_PASSWORD

_PDFIUM = threading.Lock()
"""PDFium must not be called by two threads at once, not even on different documents."""


def split_page(path: str | Path) -> tuple[Path, int | None]:
    """``("FILE.pdf", 3)`` of ``FILE.pdf#page=3``; the path itself and None if it names no page."""
    match = re.fullmatch(r"(?s)(.+\.pdf)#page=([0-9]{1,9})", str(path), re.IGNORECASE)
    return (Path(match[1]), int(match[2])) if match else (Path(path), None)


def load_page(path: str | Path, page: int, *, dpi: float = DPI, max_pixels: int = MAX_PAGE_PIXELS) -> Image.Image:
    """Draw a page on white, filled forms included, in RGB. Safe to call from threads: they take turns.

    Args:
        path: the document.
        page: from 1.
        dpi: dots per inch.
        max_pixels: a page that would have more is drawn smaller (posters, plans).

    Raises:
        DataError: the file is missing, encrypted, corrupt, larger than 512 MiB, or has no such page.
        UserError: pypdfium2 is not installed.
    """
    pdfium = _pdfium()
    with _PDFIUM:
        document = _open(pdfium, Path(path))
        try:
            pages = len(document)
            if not 1 <= page <= pages:
                raise DataError(f"{path}: no page {page}; the document has pages 1 to {pages}")
            document.init_forms()
            width, height = document.get_page_size(page - 1)  # points
            scale = dpi / POINTS_PER_INCH
            shrink = min(1.0, (max_pixels / max(width * height * scale**2, 1.0)) ** 0.5)
            # PDFium rounds each side up, so a shrunk page aims a little lower.
            bitmap = document[page - 1].render(scale=scale * shrink * (0.999 if shrink < 1 else 1))
            picture: Image.Image = bitmap.to_pil().convert("RGB")
            return picture
        except pdfium.PdfiumError as error:
            raise DataError(f"{path}: cannot draw page {page} ({error}); replace the file") from None
        finally:
            document.close()


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


def count_pages(path: str | Path) -> int:
    """Pages of a document.

    Raises:
        DataError: it cannot be opened.
        UserError: pypdfium2 is not installed.
    """
    pdfium = _pdfium()
    with _PDFIUM:
        document = _open(pdfium, Path(path))
        try:
            return len(document)
        finally:
            document.close()


def _open(pdfium: Any, path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"{path}: no such document")
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path}: more than {MAX_BYTES:,} bytes, the limit for a document; split it")
    try:
        return pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        if error.err_code == WRONG_PASSWORD:
            raise DataError(f"{path}: encrypted; save it without a password") from None
        raise DataError(f"{path}: not a PDF that can be read ({error}); replace the file") from None


def _pdfium() -> Any:
    try:
        import pypdfium2
    except ImportError:
        raise UserError("pages of PDF documents need the package pypdfium2: pip install 'llave[media]'") from None
    return pypdfium2
