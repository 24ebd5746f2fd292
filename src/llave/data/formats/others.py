"""Formats of which the size alone is read here: BMP, ICO, PPM, JPEG 2000, and AVIF and HEIC with their boxes."""

import re

from llave.data.formats.structure import Structure, Unreadable, cut_off, unpack

__all__ = ["read_bmp", "read_boxes", "read_ico", "read_jpeg2000", "read_ppm"]

HEAD = 1 << 20
"""Bytes in which the boxes of AVIF and HEIC are sought; pixels come after them."""
AVIF = {b"avif", b"avis"}
PPM = re.compile(rb"P[1-6](?:\s|#[^\n]*\n)++(\d{1,9})(?:\s|#[^\n]*\n)++(\d{1,9})")
"""With comments between. Possessive: what does not match is not tried in other ways, of which there can be 2^100."""
HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def read_bmp(data: bytes) -> Structure:
    """Plain pixels take their bytes; packed ones are unpacked in Python, slowly."""
    (header,) = unpack("<I", data, 14)
    packed = 0
    if header == 12:
        width, height, _, bits = unpack("<HHHH", data, 18)
    else:
        width, height, _, bits, packed = unpack("<iiHHI", data, 18)
    width, height = abs(width), abs(height)
    plain = packed in (0, 3, 6)
    least = (width * bits + 31) // 32 * 4 * height if plain else 0
    return _sized("BMP" if plain else "BMP-RLE", width, height, data, least)


def read_ico(data: bytes) -> Structure:
    """The largest picture in it."""
    sizes = []
    for number in range(int.from_bytes(data[4:6], "little")):
        width, height, _, _, _, _, _, at = unpack("<BBBBHHII", data, 6 + 16 * number)
        if data[at : at + 4] == b"\x89PNG":
            sizes.append(unpack(">II", data, at + 16))
        else:
            sizes.append((width or 256, height or 256))
    if not sizes:
        raise cut_off("ICO")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return _sized("ICO", width, height, data)


def read_ppm(data: bytes) -> Structure:
    """PBM, PGM, PPM."""
    found = PPM.match(data)
    if found is None:
        raise cut_off("PPM")
    return _sized("PPM", int(found[1]), int(found[2]), data)


def read_jpeg2000(data: bytes) -> Structure:
    """By the first codestream."""
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0:
        raise cut_off("JPEG 2000")
    right, bottom, left, top = unpack(">IIII", data, at + 8)
    return _sized("JPEG2000", right - left, bottom - top, data)


def read_boxes(data: bytes) -> Structure:
    """AVIF and HEIC: the largest of all sizes that its boxes name, which is that of the picture made of tiles."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[at : at + 4] for at in range(8, end, 4)}
    if not brands & (AVIF | HEIF):  # a film
        raise Unreadable("not a picture that can be read")
    form = "AVIF" if brands & AVIF else "HEIF"
    sizes = [unpack(">II", data, found.end() + 4) for found in re.finditer(b"ispe", data[: HEAD - 12])]
    if not sizes:
        raise cut_off(form)
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return _sized(form, width, height, data)


def _sized(form: str, width: int, height: int, data: bytes, least_bytes: int = 0) -> Structure:
    if width <= 0 or height <= 0:
        raise Unreadable(f"truncated or corrupt: {width}x{height} pixels")
    return Structure(format=form, width=width, height=height, data=data, least_bytes=least_bytes)
