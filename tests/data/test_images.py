"""Pictures that users really have: truncated, tiny, CMYK, 16-bit, rotated, huge, and not pictures at all."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llave.data.images import load_image
from llave.errors import DataError


def test_truncated(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"cut\.png: cannot decode"):
        load_image(path)


def test_missing_and_not_a_picture(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.png: no such picture"):
        load_image(tmp_path / "nothing.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(DataError, match=r"text\.png: not a picture"):
        load_image(tmp_path / "text.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match=r"empty\.png: not a picture"):
        load_image(tmp_path / "empty.png")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (9000, 9000)).save(path)
    with pytest.raises(DataError, match=r"9000x9000 pixels, more than the limit of 40,000,000"):
        load_image(path)
    assert load_image(path, max_pixels=10**8).size == (9000, 9000)


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "dot.png")
    image = load_image(tmp_path / "dot.png")
    assert image.size == (1, 1)
    assert image.getpixel((0, 0)) == (1, 2, 3)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.new("CMYK", (32, 32), (0, 255, 255, 0)).save(tmp_path / "red.jpg")
    red = load_image(tmp_path / "red.jpg")
    assert red.mode == "RGB"
    pixel = red.getpixel((16, 16))
    assert isinstance(pixel, tuple)
    assert pixel[0] > 200
    assert max(pixel[1:]) < 60


def test_16_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    image = load_image(tmp_path / "deep.png")
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image)[..., 0].ravel(), np.arange(256))


def test_transparency_becomes_white_and_exif_is_applied(tmp_path: Path) -> None:
    palette = Image.new("RGBA", (8, 8), (0, 0, 0, 0)).convert("P")
    palette.info["transparency"] = palette.getpixel((0, 0))
    palette.save(tmp_path / "clear.png", transparency=palette.getpixel((0, 0)))
    assert load_image(tmp_path / "clear.png").getpixel((4, 4)) == (255, 255, 255)
    upright = Image.new("RGB", (10, 20))
    exif = upright.getexif()
    exif[0x0112] = 6  # rotated by 90 degrees
    buffer = io.BytesIO()
    upright.save(buffer, "JPEG", exif=exif)
    assert load_image(buffer.getvalue()).size == (20, 10)
