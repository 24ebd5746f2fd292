"""GIF: its blocks, stepped over without decoding."""

from llave.data.formats.structure import Structure, Unreadable, unpack

__all__ = ["read"]

MAX_BLOCKS = 4_000_000
"""Of at most 255 bytes each; a whole one of 1 GB has as many."""
EXTENSION, FRAME = 0x21, 0x2C


def read(data: bytes) -> Structure:
    """Canvas and number of frames, those included that are cut short.

    Raises:
        Unreadable: no frame, or more blocks than a GIF has.
    """
    width, height, flags = unpack("<HHB", data, 6)
    at = 13 + _palette(flags)
    frames = blocks = 0
    while at < len(data) and data[at] in (EXTENSION, FRAME):
        if data[at] == FRAME:
            if at + 10 > len(data):
                break
            left, top, wide, high, flags = unpack("<HHHHB", data, at + 1)
            width, height, frames = max(width, left + wide), max(height, top + high), frames + 1
            at += 11 + _palette(flags)
        else:
            at += 2
        while at < len(data) and data[at]:
            at += data[at] + 1
            blocks += 1
        at += 1
        blocks += 1
        if blocks > MAX_BLOCKS:
            raise Unreadable(f"more than {MAX_BLOCKS:,} blocks, the limit for a GIF; shorten it")
    if not frames:
        raise Unreadable("truncated or corrupt: no frame in this GIF")
    return Structure(format="GIF", width=width, height=height, data=data, frames=frames)


def _palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
