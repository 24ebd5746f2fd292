"""Photos that lie on their side, with EXIF as broken as it is found."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from llave.data.images import load_image, picture_size
from llave.data.orientation import exif_orientation, orientation_of, xmp_orientation

SIDEWAYS = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 24, 3), dtype=np.uint8))


def exif(*entries: bytes, order: str = "<", rest: bytes = b"") -> bytes:
    head = b"II*\0\x08\0\0\0" if order == "<" else b"MM\0*\0\0\0\x08"
    return b"Exif\0\0" + head + struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4) + rest


def tag(number: int, kind: int, value: bytes, count: int = 1, order: str = "<") -> bytes:
    return struct.pack(f"{order}HHI", number, kind, count) + value.ljust(4, b"\0")


TURN = tag(274, 3, b"\x06\0")
REST = struct.pack("<I", 8 + 2 + 24 + 4)  # the offset of what follows two entries
ODD = {
    "resolution as text": tag(282, 2, b"72\0\0", 3),
    "resolution as bytes": tag(282, 1, b"72\0\0", 3),
    "rational -1/0": tag(282, 10, REST),
    "unit of 8 bytes": tag(296, 16, REST),
    "rational in text": tag(270, 5, REST),
    "no such type": tag(282, 999, b"\xff" * 4),
    "offset out of the file": tag(282, 5, b"\xff" * 4, 9),
    "endless": tag(282, 7, b"\0\0\0\0", 0xFFFFFFFF),
    "its own directory": tag(34665, 4, struct.pack("<I", 8)),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_an_odd_tag_costs_nothing(form: str, name: str) -> None:
    odd = exif(TURN, ODD[name], rest=struct.pack("<iiq", -1, 0, 3))
    buffer = io.BytesIO()
    SIDEWAYS.save(buffer, form, exif=odd, **({"lossless": True} if form == "WEBP" else {}))
    image = load_image(buffer.getvalue())
    assert image.size == (16, 24)
    assert picture_size(buffer.getvalue()) == (24, 16)
    if form != "JPEG":
        assert image.tobytes() == SIDEWAYS.transpose(Image.Transpose.ROTATE_270).tobytes()


@pytest.mark.parametrize("value", range(1, 9))
def test_all_eight_ways_as_pillow_turns_them(value: int) -> None:
    own = Image.Exif()
    own[274] = value
    for form in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF"):
        buffer = io.BytesIO()
        SIDEWAYS.save(buffer, form, exif=own)
        with Image.open(io.BytesIO(buffer.getvalue())) as opened:
            opened.load()
            wanted = ImageOps.exif_transpose(opened)
        assert load_image(buffer.getvalue()).tobytes() == wanted.convert("RGB").tobytes(), form


def test_orientation_in_any_number() -> None:
    for kind, value in ((1, b"\x06"), (3, b"\x06\0"), (4, b"\x06\0\0\0"), (6, b"\x06"), (8, b"\x06\0"), (9, b"\x06")):
        assert exif_orientation(exif(tag(274, kind, value))) == 6
    assert exif_orientation(exif(tag(274, 3, b"\0\x06", order=">"), order=">")) == 6
    far = struct.pack("<I", 8 + 2 + 12 + 4)
    assert exif_orientation(exif(tag(274, 16, far), rest=struct.pack("<Q", 6))) == 6
    assert exif_orientation(exif(tag(274, 5, far), rest=struct.pack("<II", 12, 2))) == 6
    for kind, value in ((2, b"6\0"), (3, b"\x09\0"), (3, b"\0\0"), (16, b"\xff" * 4), (77, b"\x06")):
        assert exif_orientation(exif(tag(274, kind, value))) is None
    for broken in (b"", b"Exif\0\0", b"II", b"II*\0\xff\xff\xff\xff", exif(TURN)[:20], b"hello" * 9):
        assert exif_orientation(broken) is None
    assert exif_orientation(exif(TURN)[6:]) == 6


def test_orientation_in_xmp() -> None:
    for text in (b'<x tiff:Orientation="6"/>', b"<tiff:Orientation>6</tiff:Orientation>"):
        assert xmp_orientation(text) == 6
        buffer = io.BytesIO()
        SIDEWAYS.save(buffer, "JPEG", xmp=text)
        assert load_image(buffer.getvalue()).size == (16, 24)
        with Image.open(buffer) as opened:
            assert orientation_of(opened) == 6
    assert xmp_orientation(b'tiff:Orientation="0"') is None


def test_a_tiff_with_odd_tags() -> None:
    buffer = io.BytesIO()
    SIDEWAYS.save(buffer, "TIFF", tiffinfo={274: 6, 296: 3})
    data = bytearray(buffer.getvalue())
    place = data.index(struct.pack("<HH", 296, 3))
    data[place : place + 4] = struct.pack("<HH", 282, 2)  # a resolution as text
    image = load_image(bytes(data))
    assert image.tobytes() == SIDEWAYS.transpose(Image.Transpose.ROTATE_270).tobytes()
