"""Pictures that stand in a text, as base64, where others have a path: of tables, and of requests to the server."""

import base64
import binascii
import hashlib
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

from llave.data.cache import cache_directory
from llave.errors import DataError
from llave.files import write_bytes

__all__ = ["inline_bytes", "kept_file", "read_inline"]

LONGEST_PATH = 4096
"""What a system takes as a path, in bytes; base64 of a picture is longer, or says that it is ``data:``."""
SHORTEST = 64
BEGINNINGS = ("/9j/", "_9j_", "iVBORw0KGgo", "R0lGOD", "UklGR")
"""JPEG, PNG, GIF and WebP in base64: a text of more than ``SHORTEST`` characters that begins so is no path."""
FORM = re.compile(r"\s*data:(?P<kind>[^,;]*)(?P<parameters>(;[^,;]*)*),", re.IGNORECASE)
ALPHABET = bytes.maketrans(b"-_", b"+/")


def inline_bytes(text: str) -> bytes | None:
    """The bytes that a text holds; None of what may be a path.

    Raises:
        DataError: as :func:`read_inline`, with the text's beginning.
    """
    is_data = text[:LONGEST_PATH].lstrip()[:5].lower() == "data:"
    if not is_data and len(text) <= LONGEST_PATH and (len(text) <= SHORTEST or not text.startswith(BEGINNINGS)):
        return None
    try:
        return read_inline(text)
    except DataError as error:
        raise DataError(f"{text[:40]!r}… of {len(text):,} characters: {error}") from None


def read_inline(text: str) -> bytes:
    """The bytes of a text: ``data:image/png;base64,…``, ``data:image/png,%89PNG…``, or bare base64.

    As tools write base64: with line breaks, without padding, in either alphabet.

    Raises:
        DataError: it is none of these; the message does not repeat it.
    """
    form = FORM.match(text[:LONGEST_PATH])
    if form is None and text[:LONGEST_PATH].lstrip()[:5].lower() == "data:":
        raise DataError("a data: address is data:KIND;base64,…")
    content: str | bytes = text[form.end() :] if form else text
    if "%" in content:
        content = unquote_to_bytes(content)
    if form and "base64" not in [word.strip() for word in form["parameters"].lower().split(";")]:
        return content.encode() if isinstance(content, str) else content
    try:
        raw = content.encode("ascii") if isinstance(content, str) else content
        plain = raw.translate(ALPHABET, b" \t\r\n\f\v").rstrip(b"=")
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise DataError("neither a data: address nor base64") from None


def kept_file(content: bytes) -> Path:
    """A picture of a table as a file of the cache, by the hash of its bytes, for rows that name files."""
    name = hashlib.sha256(content).hexdigest()
    path = cache_directory() / "pictures" / name[:2] / name
    if not path.is_file():
        write_bytes(path, content)
    return path
