"""In which encoding a text file is: UTF-8, UTF-16 or UTF-32 by its mark or form, or an older one, by a guess.

Nothing is ever replaced: what is not valid in its encoding is an error of its place. A guess is said in one line.
"""

import codecs
import functools
import logging
from collections.abc import Iterator
from pathlib import Path

from llave.errors import DataError

__all__ = ["decode_text", "encoding_of", "is_wide"]

MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, which it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
OLDER = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("shift_jis", "gb18030", "big5", "euc_kr", "euc_jp"),
)
"""What texts without Unicode are written in. All have ASCII's bytes for ASCII, so that lines end where they end."""
BLOCK = 1 << 20
SAMPLE = 1 << 16
"""Bytes around the first that is not UTF-8 by which the encoding is guessed."""


def encoding_of(path: Path) -> str:
    """The encoding of a text file, for ``open``; the file is read once for it, and again when it changes.

    Raises:
        DataError: neither UTF-8 nor anything else that can be told.
        OSError: the file cannot be read.
    """
    stat = path.stat()
    return _encoding_of(path.resolve(), stat.st_size, stat.st_mtime_ns)


def decode_text(content: bytes, name: str) -> str:
    """A whole text, without a byte-order mark.

    Args:
        name: of the file, for messages.

    Raises:
        DataError: it cannot be told in which encoding, or some of it is not valid there.
    """
    encoding = _encoding(iter([content]), name)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not valid {encoding} at byte {error.start:,}; save it as UTF-8") from None


def is_wide(encoding: str) -> bool:
    """Whether a character takes two bytes or more, so that a line cannot be found by the byte of its end."""
    return encoding.startswith(("utf-16", "utf-32"))


@functools.lru_cache(256)
def _encoding_of(path: Path, size: int, modified: int) -> str:
    del size, modified  # a changed file is looked at again
    with path.open("rb") as file:
        return _encoding(iter(functools.partial(file.read, BLOCK), b""), str(path))


def _encoding(blocks: Iterator[bytes], name: str) -> str:
    decoder = codecs.getincrementaldecoder("utf-8")()
    first, plain, tail = True, True, b""
    for block in blocks:
        if first:
            for mark, encoding in MARKS.items():
                if block.startswith(mark):
                    return encoding
            wide = _unmarked_wide(block)
            if wide is not None:
                return wide
            first = False
        try:
            plain = decoder.decode(block).isascii() and plain
        except UnicodeDecodeError as error:
            sound = error.object[: error.start]
            if not plain or not sound.decode("utf-8", "ignore").isascii():
                return "utf-8"  # some of it surely is; a place that is not costs itself
            start = max(0, error.start - SAMPLE // 2)
            more = next(blocks, b"") if len(error.object) - error.start < SAMPLE // 2 else b""
            return _guess((error.object[start:] + more)[:SAMPLE], name)
        tail = block
    # One byte left over, of a text that is ASCII otherwise, is no letter of UTF-8 that was cut off.
    return _guess(tail[-SAMPLE:], name) if plain and len(decoder.getstate()[0]) == 1 else "utf-8"


def _unmarked_wide(block: bytes) -> str | None:
    """UTF-16 without a mark: text of which about every other byte is NUL. A lone NUL in UTF-8 is no such thing."""
    sample = block[: SAMPLE // 2 * 2]
    half = len(sample) // 2
    if half >= 2:
        for encoding, where in (("utf-16-le", 1), ("utf-16-be", 0)):
            if sample[where::2].count(0) > 0.7 * half and sample[1 - where :: 2].count(0) < 0.1 * half:
                return encoding
    return None


def _guess(sample: bytes, name: str) -> str:
    from charset_normalizer import from_bytes

    found = from_bytes(sample, cp_isolation=list(OLDER))
    best = found.best()
    if best is None:
        raise DataError(f"{name}: not UTF-8, nor another encoding that can be told; save it as UTF-8")
    equal = [name for match in found if match.chaos <= best.chaos for name in match.could_be_from_charset]
    encoding = "cp1252" if "cp1252" in equal else best.encoding  # most files, where nothing tells it from others
    logging.getLogger(__name__).warning(
        "%s: not UTF-8; read as %s, which is a guess: save it as UTF-8 if letters are wrong", name, encoding
    )
    return encoding
