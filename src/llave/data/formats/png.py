"""PNG: its chunks, without those that are not pixels."""

import zlib
from collections.abc import Iterator

from llave.data.formats.structure import Structure, Unreadable, cut_off, unpack, without
from llave.data.orientation import exif_orientation, xmp_orientation

__all__ = ["read"]

MAGIC = b"\x89PNG\r\n\x1a\n"
PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT"}
"""Chunks that are pixels. Text, profiles and the rest can be large, compressed and broken; nothing depends on them."""
MAX_CHUNKS = 200_000
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
EXPANSION = 1100  # bytes that zlib can make of one
MAX_PROFILE = 1 << 20


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end) of each, the last one cut at the end of the data."""
    at = len(MAGIC)
    for _ in range(MAX_CHUNKS):
        if at + 8 > len(data):
            return
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], at, min(end, len(data))
        at = end
    raise Unreadable(f"more than {MAX_CHUNKS:,} chunks, the limit for a PNG; save the picture anew")


def read(data: bytes) -> Structure:
    """Size, orientation and frames.

    Raises:
        Unreadable: no header, or too many chunks.
    """
    width, height, depth, colour = unpack(">IIBB", data, 16)
    if data[12:16] != b"IHDR" or not width or not height:
        raise cut_off("PNG")
    orientation, frames, announced = None, 0, 1
    dropped = []
    for name, start, end in chunks(data):
        if name == b"fcTL":
            frames += 1
        elif name == b"acTL" and end - start >= 20:
            announced = int.from_bytes(data[start + 8 : start + 12], "big")
        elif name == b"IEND":
            break
        if name not in PIXELS:
            orientation = orientation or _orientation(name, data[start + 8 : end - 4])
            dropped.append((start, end))
    return Structure(
        format="PNG",
        width=width,
        height=height,
        data=without(data, dropped),
        orientation=orientation or 1,
        frames=max(1, min(frames, announced)),
        least_bytes=height * (width * CHANNELS.get(colour, 1) * depth // 8) // EXPANSION,
    )


def _orientation(name: bytes, content: bytes) -> int | None:
    if name == b"eXIf":
        return exif_orientation(content)
    if name == b"iTXt" and content.startswith(b"XML:com.adobe.xmp\0\0"):
        return xmp_orientation(content)
    if name in (b"tEXt", b"zTXt") and content.startswith(b"Raw profile type exif\0"):  # ImageMagick's
        text = content.split(b"\0", 1)[1]
        return _raw_profile(text if name == b"tEXt" else _inflated(text[1:]))
    return None


def _inflated(content: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(content, MAX_PROFILE)
    except zlib.error:
        return b""


def _raw_profile(text: bytes) -> int | None:
    """Three lines of heading, then hexadecimal digits."""
    try:
        return exif_orientation(bytes.fromhex(b"".join(text.split()[2:]).decode("ascii", "replace")))
    except ValueError:
        return None
