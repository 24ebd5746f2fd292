"""Which way up a photo is, from EXIF or XMP as cameras and editors leave them.

Only this one tag is read: types, values and offsets of all others may be as broken as they like. (Pillow's
``exif_transpose`` writes the whole EXIF anew to take the tag out, and fails on any tag that it cannot encode.)
"""

import re
import struct
from collections.abc import Mapping

from PIL import Image

__all__ = ["exif_orientation", "orientation_of", "upright", "xmp_orientation"]

ORIENTATION = 0x0112
TURNS: Mapping[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
FORMS = {1: "B", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii", 13: "I", 16: "Q", 17: "q", 18: "Q"}
"""EXIF's types as struct's: numbers, and fractions as two of them."""


def exif_orientation(exif: bytes) -> int | None:
    """1 to 8, in whatever type of number it is written; None: not there, or not to be made out."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for place in range(start + 2, min(start + 2 + 12 * count, len(exif)), 12):
            tag, kind = struct.unpack_from(f"{order}HH", exif, place)
            if tag == ORIENTATION and kind in FORMS:
                form = order + FORMS[kind]
                inline = struct.calcsize(form) <= 4
                at = place + 8 if inline else struct.unpack_from(f"{order}I", exif, place + 8)[0]
                value, *divisor = struct.unpack_from(form, exif, at)
                return _valid(value / divisor[0] if divisor and divisor[0] else value)
    except struct.error:  # an offset out of the block
        return None
    return None


def xmp_orientation(xmp: bytes) -> int | None:
    """1 to 8; None: not there."""
    found = re.search(rb"tiff:Orientation(?:=[\"']|>)\s*([0-9])", xmp)
    return _valid(int(found[1])) if found else None


def orientation_of(image: Image.Image) -> int:
    """Of a picture that somebody else opened with Pillow; 1 where nothing is said."""
    image.load()  # a PNG's EXIF may come after its pixels; a TIFF is turned by Pillow itself
    exif, xmp = image.info.get("exif"), image.info.get("xmp")
    found = exif_orientation(exif) if isinstance(exif, bytes) else None
    if found is None and isinstance(xmp, bytes):
        found = xmp_orientation(xmp)
    if found is None and exif is None:
        try:
            found = _valid(image.getexif().get(ORIENTATION, 1))
        except Exception:  # metadata never costs a picture
            found = None
    return found or 1


def upright(image: Image.Image, orientation: int | None = None) -> Image.Image:
    """The picture turned as ``orientation`` says; without it, as its own EXIF or XMP does, which is then taken off."""
    turn = TURNS.get(orientation_of(image) if orientation is None else orientation)
    if turn is None:
        return image
    turned = image.transpose(turn)
    for name in ("exif", "xmp", "XML:com.adobe.xmp"):  # or it would be turned again
        turned.info.pop(name, None)
    return turned


def _valid(value: float) -> int | None:
    return int(value) if value in range(1, 9) else None
