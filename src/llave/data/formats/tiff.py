"""TIFF: its directories, of which each page has one."""

import os
import struct
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from llave.data.formats.structure import Unreadable, unpack

__all__ = ["MAX_PAGES", "pages"]

MAX_PAGES = 100_000
MAX_ENTRIES = 4096
SUBFILE, WIDTH, HEIGHT, ORIENTATION = 254, 256, 257, 274
WANTED = {SUBFILE, WIDTH, HEIGHT, ORIENTATION}
NOT_A_PAGE = 1 | 4  # a smaller copy of a page, a mask
FORMS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}


def pages(file: BinaryIO) -> Iterator[tuple[int, Mapping[int, int]]]:
    """(place among the directories, the tags that are wanted) of each page.

    Where the chain of directories breaks, a page without tags stands for all that would follow: nobody can read it, and
    so nobody takes the pages before it for all.

    Raises:
        Unreadable: directories without end.
    """
    for number, tags in enumerate(_directories(file)):
        if not tags.get(SUBFILE, 0) & NOT_A_PAGE or number == 0:
            yield number, tags


def _directories(file: BinaryIO) -> Iterator[Mapping[int, int]]:
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    count_form, entry, offset_form = ("Q", 20, "Q") if big else ("H", 12, "I")
    seen: set[int] = set()
    end = file.seek(0, os.SEEK_END)
    if len(head) < (16 if big else 8):
        yield {}
        return
    (at,) = unpack(order + offset_form, head, 8 if big else 4)
    while at and at not in seen:
        if len(seen) == MAX_PAGES:
            raise Unreadable(f"more than {MAX_PAGES:,} pages, the limit for a TIFF; split it")
        seen.add(at)
        file.seek(min(at, end))
        head = file.read(struct.calcsize(count_form))
        (count,) = unpack(order + count_form, head, 0) if len(head) == struct.calcsize(count_form) else (0,)
        block = file.read(min(count, MAX_ENTRIES) * entry + struct.calcsize(offset_form))
        if not 0 < count <= MAX_ENTRIES or len(block) < count * entry + struct.calcsize(offset_form):
            yield {}
            return
        yield _tags(block, count, entry, order, inline=8 if big else 4)
        (at,) = unpack(order + offset_form, block, count * entry)


def _tags(block: bytes, count: int, entry: int, order: str, inline: int) -> Mapping[int, int]:
    found = {}
    for at in range(0, count * entry, entry):
        tag, kind = struct.unpack_from(f"{order}HH", block, at)
        if tag in WANTED and kind in FORMS and struct.calcsize(FORMS[kind]) <= inline:
            (found[tag],) = struct.unpack_from(order + FORMS[kind], block, at + entry - inline)
    return found
