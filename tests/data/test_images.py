"""Pictures that users really have: truncated, tiny, CMYK, 16-bit, rotated, huge, and not pictures at all."""

import io
import os
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from llave.data.images import load_image, picture_size
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
    Image.new("1", (14000, 14000)).save(path)
    with pytest.raises(DataError, match=r"14000x14000 pixels, more than the limit of 180,000,000 \(--max_pixels\)"):
        load_image(path)
    Image.new("1", (12000, 12000)).save(path)
    assert load_image(path).size == (4000, 4000)
    with pytest.raises(DataError, match="more than the limit of 1,000"):
        load_image(path, max_pixels=1000)


def test_large_photos_are_read_smaller(tmp_path: Path) -> None:
    for width, height, size in ((6000, 4000, (6000, 4000)), (8000, 6000, (4000, 3000)), (16000, 8000, (4000, 2000))):
        Image.new("RGB", (width, height), "red").save(tmp_path / "a.jpg")
        photo = load_image(tmp_path / "a.jpg")
        assert photo.size == size
        assert photo.getpixel((1999, 999)) == (254, 0, 0)
        assert picture_size((tmp_path / "a.jpg").read_bytes()[:1000]) == size[::-1]
    with pytest.raises(DataError, match=r"a\.jpg: 16000x8000 pixels, more than the limit of 20,000,000"):
        load_image(tmp_path / "a.jpg", max_pixels=20_000_000)
    Image.new("RGB", (16000, 8000), "red").save(tmp_path / "a.png", compress_level=1)
    photo = load_image(tmp_path / "a.png")
    assert (photo.size, photo.getpixel((7, 7))) == ((5334, 2667), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8000, 6000), "red").save(tmp_path / "turned.jpg", exif=exif)
    assert load_image(tmp_path / "turned.jpg").size == (3000, 4000)
    assert picture_size((tmp_path / "turned.jpg").read_bytes()) == (4000, 3000)


@pytest.mark.parametrize(
    "form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "ICO", "PPM", "JPEG2000", "HEIF"]
)
def test_every_format_by_path_and_bytes(tmp_path: Path, form: str) -> None:
    half = Image.new("RGB", (64, 48), (250, 10, 10))
    half.paste((10, 10, 250), (32, 0, 64, 48))
    path = tmp_path / "a.picture"  # what it is, its content says
    if form == "HEIF":
        pillow_heif.from_pillow(half).save(path)
    else:
        half.save(path, form, **({"sizes": [(64, 48)]} if form == "ICO" else {}))
    for image in (load_image(path), load_image(str(path)), load_image(path.read_bytes())):
        assert (type(image), image.mode, image.size) == (Image.Image, "RGB", (64, 48))
        left, right = (np.asarray(image.getpixel((x, 24)), int) for x in (8, 56))
        assert np.abs(left - (250, 10, 10)).max() < 16
        assert np.abs(right - (10, 10, 250)).max() < 16
    assert picture_size(path.read_bytes()) == ((64, 64) if form == "HEIF" else (48, 64))  # HEIC's tile is cropped
    for keep in (4, 12, 30, len(path.read_bytes()) // 2):
        with pytest.raises(DataError, match=r"a\.picture: "):
            load_image(_cut(path, keep))


def _cut(path: Path, keep: int) -> Path:
    cut = path.with_name("cut") / path.name
    cut.parent.mkdir(exist_ok=True)
    cut.write_bytes(path.read_bytes()[:keep])
    return cut


def test_no_other_decoder_can_be_chosen(tmp_path: Path) -> None:
    for form in ("TGA", "PCX", "SGI", "DDS", "EPS", "IM", "SPIDER", "XBM"):
        path = tmp_path / f"a.{form}"  # Pillow's SPIDER makes the suffix that it is saved under its own
        Image.new("1" if form == "XBM" else "F" if form == "SPIDER" else "RGB", (8, 8)).save(path, form)
        with pytest.raises(DataError, match=r"not a picture that can be read"):
            load_image(path)
    os.mkfifo(tmp_path / "pipe.png")
    for odd in (tmp_path, tmp_path / "pipe.png", "\0.png"):
        with pytest.raises(DataError):
            load_image(odd)


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
