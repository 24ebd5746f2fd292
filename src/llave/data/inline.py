"""Pictures that stand in a text, as base64, where others have a path."""

import base64
import binascii
import re

from llave.errors import DataError

__all__ = ["inline_bytes"]

LONGEST_PATH = 4096
"""What a system takes as a path, in bytes; base64 of a picture is longer, or says that it is ``data:``."""
FORM = re.compile(r"data:(?P<kind>[^,;]*)(?P<parameters>(;[^,;]*)*),", re.IGNORECASE)
SPACE = re.compile(r"\s+")


def inline_bytes(text: str) -> bytes | None:
    """The bytes that a text is in base64, ``data:image/png;base64,…`` or bare; None of what may be a path.

    As tools write it: with line breaks, without padding, in either alphabet.

    Raises:
        DataError: such a text that is not base64.
    """
    form = FORM.match(text[:LONGEST_PATH])
    if form is None and len(text) <= LONGEST_PATH:
        if text[:5].lower() == "data:":
            raise DataError(f"{text[:40]!r}: not data:KIND;base64,…")
        return None
    if form is not None and "base64" not in form["parameters"].lower().split(";"):
        raise DataError(f"{text[:40]!r}: not in base64")
    content = SPACE.sub("", text[form.end() if form else 0 :]).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(content + "=" * (-len(content) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise DataError(f"{text[:40]!r}… of {len(text):,} characters is neither a path nor base64") from None
