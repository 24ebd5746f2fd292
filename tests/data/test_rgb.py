"""Every mode and range of values to 8-bit RGB: the grey ramp stays a ramp, transparency is white."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from llave.data.rgb import to_rgb

RAMP = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(16, 0)
HOLE, BRIGHT, DARK, ENDLESS, ABSENT = (RAMP.copy() for _ in range(5))
HOLE[0, 0], BRIGHT[0, 0], DARK[0, 0], ENDLESS[0, 0], ABSENT[0, 0] = np.nan, 1e6, -1e6, np.inf, -3.4e38
HOT = (RAMP * 4095).astype(np.uint16)
HOT[0, 0] = 65535


def grey(image: Image.Image) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    rgb = to_rgb(image)
    assert rgb.mode == "RGB"
    channels = np.asarray(rgb)
    assert (channels[..., 0] == channels[..., 1]).all()
    return channels[..., 0]


@pytest.mark.parametrize(
    "values",
    [
        RAMP,
        RAMP * 255,
        RAMP * 1.2,
        RAMP * 2 - 1,
        RAMP * 4095,
        RAMP * 0.01,
        RAMP * 30,
        RAMP * 1e-20,
        RAMP * 1e20,
        RAMP - 300,
        HOLE,
        BRIGHT,
        DARK,
        ENDLESS,
        ABSENT,
        *((RAMP * most).astype(np.int32) for most in (255, 1023, 4095, 65535, 10**6, 2**30)),
        (RAMP * 2000 - 1000).astype(np.int32),
        *((RAMP * most).astype(np.uint16) for most in (255, 1023, 4095, 16383, 65535)),
        HOT,
    ],
)
def test_a_ramp_stays_a_ramp(values: "np.ndarray[tuple[int, int], np.dtype[np.float32]]") -> None:
    found = grey(Image.fromarray(values))
    inner = found[-1, 1:-1].astype(int)
    assert int(inner.max()) - int(inner.min()) >= 200
    assert len(np.unique(inner)) >= 60
    assert (np.diff(inner) >= 0).all() or (np.diff(inner) <= 0).all()


def test_ranges_by_hand() -> None:
    assert grey(Image.fromarray(np.full((8, 8), 128, np.uint16)))[0, 0] == 128
    assert grey(Image.fromarray(np.array([[0, 2048, 4095]], np.uint16))).tolist() == [[0, 128, 255]]
    assert grey(Image.fromarray(np.array([[0, 257, 65535]], np.uint16))).tolist() == [[0, 1, 255]]
    assert grey(Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32))).tolist() == [[0, 128, 255]]
    assert grey(Image.fromarray(np.array([[0.0, 128, 255]], np.float32))).tolist() == [[0, 128, 255]]
    assert grey(Image.fromarray(np.array([[np.nan, np.inf, -np.inf]], np.float32))).tolist() == [[0, 255, 0]]
    assert grey(Image.fromarray(np.zeros((4, 4), np.float32))).max() == 0
    hot = np.full((64, 64), 1000, np.uint16)
    hot[3, 3] = 65535
    assert grey(Image.fromarray(hot))[[0, 3], [0, 3]].tolist() == [249, 255]  # ten bits, and one hot pixel


def test_big_endian_grey_as_little_endian() -> None:
    values = (RAMP * 65535).astype(np.uint16)
    big = Image.frombytes("I;16B", (64, 16), values.astype(">u2").tobytes())
    assert (grey(big) == grey(Image.fromarray(values))).all()


def test_transparency_is_white_in_every_mode() -> None:
    red, clear = (255, 0, 0, 255), (0, 0, 255, 0)
    rgba = Image.new("RGBA", (2, 1), red)
    rgba.putpixel((1, 0), clear)
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    palette.info["transparency"] = 1
    keyed = Image.new("RGB", (2, 1), red[:3])
    keyed.putpixel((1, 0), clear[:3])
    keyed.info["transparency"] = clear[:3]
    for image in (rgba, rgba.convert("RGBa"), palette, palette.convert("PA"), keyed):
        rgb = to_rgb(image)
        assert [rgb.getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0), (255, 255, 255)], image.mode
    for image in (rgba.convert("LA"), rgba.convert("LA").convert("La")):
        assert grey(image).tolist() == [[76, 255]], image.mode
    deep = Image.fromarray(np.array([[0, 65535, 40000]], np.uint16))
    deep.info["transparency"] = 0
    assert grey(deep).tolist() == [[255, 255, 156]]
    half = Image.new("RGBA", (1, 1), (0, 0, 0, 127))
    assert to_rgb(half).getpixel((0, 0)) == (128, 128, 128)


def test_colours_of_print_and_video() -> None:
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    assert to_rgb(Image.new("CMYK", (4, 4), (0, 255, 255, 0))).getpixel((0, 0)) == (255, 0, 0)
    lab = ImageCms.profileToProfile(
        red, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    for image in (red.convert("YCbCr"), red.convert("HSV"), red.convert("RGBX"), lab):
        pixel = to_rgb(image).getpixel((0, 0))
        assert np.abs(np.asarray(pixel, int) - (255, 0, 0)).max() <= 6, image.mode
    assert grey(Image.new("1", (2, 2), 1)).min() == 255
