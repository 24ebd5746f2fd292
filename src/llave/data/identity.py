"""What makes two items the same: their content, not the name of a file or the way a letter is composed.

One definition for the masks of the loss, the duplicates of a batch, the cache of embeddings, candidates of a benchmark
and rows of a table.
"""

import hashlib
import re
import unicodedata

__all__ = ["content_digest", "legible", "normal_text"]

_HALVES = re.compile("[\ud800-\udfff]")


def normal_text(text: str) -> str:
    """The text in Unicode's composed form (NFC), and legible: "é" is one letter, however it was typed."""
    return text if text.isascii() else unicodedata.normalize("NFC", legible(text))


def legible(text: str) -> str:
    """Without halves of characters, as a caption that was cut off has them; neither a model nor a store takes them."""
    return text if text.isascii() else _HALVES.sub("\ufffd", text)


def content_digest(text: str, media: bytes = b"") -> bytes:
    """SHA-256 (32 bytes) of an item's content.

    Args:
        text: as the model meets it, without placeholders; white space counts.
        media: SHA-256 of the bytes of the picture or film and of how they are read (page, number of frames); empty
            where there is none.
    """
    words = normal_text(text).encode()
    return hashlib.sha256(b"%d:%b|%b" % (len(words), words, media)).digest()
