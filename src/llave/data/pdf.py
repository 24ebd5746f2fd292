"""PDF through PDFium, to be run where it can be killed: :mod:`llave.data.pages` does."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

from PIL import Image

from llave.data.formats.structure import Unreadable

__all__ = ["count", "draw", "text"]

MAX_BYTES = 512 * 1024**2
MAX_PAGES = 100_000
OPEN = 4
POINTS_PER_INCH = 72
WRONG_PASSWORD = 4  # FPDF_ERR_PASSWORD

_documents: "OrderedDict[tuple[Path, int, int], Any]" = OrderedDict()
"""Those used last in this process: a document of 300 pages is not opened 300 times."""


def count(path: Path) -> int:
    """Pages."""
    return len(_open(path))


def draw(path: Path, page: int, dpi: float, max_pixels: int) -> Image.Image:
    """See :func:`llave.data.pages.load_page`."""
    document = _open(path)
    pages = len(document)
    if not 1 <= page <= pages:
        raise Unreadable(f"no page {page}; the document has pages 1 to {pages}")
    width, height = document.get_page_size(page - 1)  # points
    scale = dpi / POINTS_PER_INCH
    shrink = min(1.0, (max_pixels / max(width * height * scale**2, 1.0)) ** 0.5)
    opened = document[page - 1]
    try:
        # PDFium rounds each side up, so a shrunk page aims a little lower.
        bitmap = opened.render(scale=scale * shrink * (0.999 if shrink < 1 else 1))
    finally:
        opened.close()
    picture: Image.Image = bitmap.to_pil().convert("RGB")
    return picture


def text(path: Path, page: int, most: int) -> str:
    """See :func:`llave.data.pages.page_text`."""
    opened = _open(path)[page - 1]
    try:
        layer = opened.get_textpage()
        try:
            found: str = layer.get_text_range(0, min(most, layer.count_chars()))
        finally:
            layer.close()
    finally:
        opened.close()
    return found


def _open(path: Path) -> Any:
    import pypdfium2

    stat = path.stat()
    if stat.st_size > MAX_BYTES:
        raise Unreadable(f"more than {MAX_BYTES:,} bytes, the limit for a document; split it")
    key = path.absolute(), stat.st_size, stat.st_mtime_ns
    document = _documents.pop(key, None)
    if document is None:
        try:
            document = pypdfium2.PdfDocument(path)
        except pypdfium2.PdfiumError as error:
            wrong = error.err_code == WRONG_PASSWORD
            reason = (
                "encrypted; save it without a password"
                if wrong
                else f"not a PDF that can be read ({error}); replace the file"
            )
            raise Unreadable(reason) from None
        if len(document) > MAX_PAGES:
            raise Unreadable(f"more than {MAX_PAGES:,} pages, the limit for a document; split it")
        document.init_forms()
    _documents[key] = document
    while len(_documents) > OPEN:
        _documents.popitem(last=False)[1].close()
    return document
