"""WebP: the chunks of its RIFF container."""

from llave.data.formats.structure import Structure, Unreadable, cut_off, unpack
from llave.data.orientation import exif_orientation, xmp_orientation

__all__ = ["read"]

MAX_CHUNKS = 200_000
ANIMATION = 0x02  # flag


def read(data: bytes) -> Structure:
    """Canvas, frames and orientation.

    Raises:
        Unreadable: no picture, or more chunks than a WebP has.
    """
    width = height = frames = 0
    exif = xmp = None
    animated = False
    at = 12
    for _ in range(MAX_CHUNKS):
        if at + 8 > len(data):
            break
        name, start = data[at : at + 4], at + 8
        end = start + int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"VP8X" and start + 10 <= len(data):
            animated = bool(data[start] & ANIMATION)
            width = 1 + int.from_bytes(data[start + 4 : start + 7], "little")
            height = 1 + int.from_bytes(data[start + 7 : start + 10], "little")
        elif name == b"VP8 " and not width:
            width, height = (side & 0x3FFF for side in unpack("<HH", data, start + 6))
        elif name == b"VP8L" and not width:
            (bits,) = unpack("<I", data, start + 1)
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        elif name == b"ANMF":
            frames += 1
        elif name == b"EXIF":
            exif = exif or exif_orientation(data[start:end])
        elif name == b"XMP ":
            xmp = xmp or xmp_orientation(data[start:end])
        at = end + (end & 1)
    else:
        raise Unreadable(f"more than {MAX_CHUNKS:,} chunks, the limit for a WebP; shorten it")
    if not width:
        raise cut_off("WebP")
    return Structure(
        format="WEBP",
        width=width,
        height=height,
        data=data,
        orientation=exif or xmp or 1,
        frames=max(1, frames if animated else 1),
    )
