"""Structures that are refused, or decoded where they can be killed, before anybody pays for them."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from llave.data import bounded
from llave.data.formats.jpeg import MAX_SCANS
from llave.data.formats.read import read_structure
from llave.data.images import load_image
from llave.data.video import VideoLimits, is_animated, load_video
from llave.errors import DataError
from tests.data.films import frames

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def with_scans(size: tuple[int, int], count: int) -> bytes:
    """A progressive grey JPEG whose last scan is repeated."""
    plain = encoded(Image.new("L", size, 128), "JPEG", progressive=True)
    last = plain.rindex(b"\xff\xda")
    return plain[:last] + plain[last:-2] * count + plain[-2:]


def chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")


def test_scans_of_a_jpeg() -> None:
    ordinary = read_structure(encoded(NOISE, "JPEG", progressive=True))
    assert 6 <= ordinary.passes <= 12
    assert read_structure(encoded(NOISE, "JPEG")).passes == 1
    assert read_structure(with_scans((64, 64), 50)).passes == 50 + 5
    assert load_image(with_scans((64, 64), 50)).size == (64, 64)
    with pytest.raises(DataError, match=rf"more than {MAX_SCANS} scans, the limit for a JPEG"):
        load_image(with_scans((5000, 4000), 3000))


def test_what_follows_a_jpeg_is_not_counted() -> None:
    """A film or a second picture behind it, as phones write them."""
    data = encoded(NOISE, "JPEG", progressive=True) + b"\xff\xda\0\x08" * 10_000
    assert read_structure(data).passes <= 12
    assert load_image(data).size == NOISE.size


def test_segments_of_a_jpeg() -> None:
    plain = encoded(NOISE, "JPEG")
    with pytest.raises(DataError, match="more than 4,096 segments"):
        load_image(plain[:2] + b"\xff\xfe\0\2" * 100_000 + plain[2:])
    padded = plain[:2] + b"\xff" * 1000 + b"\xff\xfe\0\2" * 100 + plain[2:]
    assert load_image(padded).tobytes() == load_image(plain).tobytes()


def test_large_metadata_of_a_png_costs_nothing() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("note", "x" * 3_000_000, zip=True)
    info.add_itxt("note", "x" * 3_000_000, zip=True)
    data = encoded(NOISE, "PNG", pnginfo=info, icc_profile=bytes(3_000_000))
    broken = (
        chunk(b"zTXt", b"a\0\0no zlib") + chunk(b"iCCP", b"a\0\0no zlib") + chunk(b"eXIf", b"MM") + chunk(b"pHYs", b"")
    )
    for odd in (data, data[:33] + broken + data[33:], data[:-12] + broken + data[-12:], data + bytes(10**6)):
        assert load_image(odd).tobytes() == NOISE.tobytes()


def test_a_png_that_cannot_hold_its_pixels() -> None:
    header = chunk(b"IHDR", (4000).to_bytes(4, "big") * 2 + bytes([8, 6, 0, 0, 0]))
    with pytest.raises(DataError, match="bytes cannot hold 4000x4000 pixels"):
        load_image(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))
    with pytest.raises(DataError, match="more than 200,000 chunks"):
        load_image(encoded(NOISE, "PNG")[:33] + chunk(b"IDAT", b"") * 200_001)


def test_animations_by_structure(tmp_path: Path) -> None:
    first, *rest = frames(9)
    for form in ("GIF", "PNG", "WEBP"):
        still, moving = encoded(first, form), encoded(first, form, save_all=True, append_images=rest, duration=50)
        assert (is_animated(still), is_animated(moving)) == (False, True)
        assert (read_structure(still).frames, read_structure(moving).frames) == (1, 9)
        for number, cut in enumerate((*range(0, len(moving), len(moving) // 97), len(moving))):
            path = tmp_path / f"{number}.{form}"
            path.write_bytes(moving[:cut])
            assert is_animated(path) in (True, False)
            for load in (load_video, load_image):
                try:
                    load(path)
                except DataError as error:
                    assert path.name in str(error)  # noqa: PT017  # either that, or frames
    assert not is_animated(encoded(first, "JPEG"))
    assert not is_animated(tmp_path / "gone.gif")
    assert not is_animated(tmp_path)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_a_long_animation_is_refused_before_it_is_decoded(tmp_path: Path, form: str) -> None:
    first, *rest = frames(30)
    path = tmp_path / "a.gif"
    first.save(path, form, save_all=True, append_images=rest)
    with pytest.raises(DataError, match="more than 1e-05 s of decoding, the limit, for 30 frames of 64x48 pixels"):
        load_video(path, limits=VideoLimits(seconds=1e-5))
    with pytest.raises(DataError, match="more than 29 frames"):
        load_video(path, limits=VideoLimits(num_frames=29))


def test_what_is_plain_is_decoded_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "_POOL", None)  # any use of it would fail
    for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
        assert load_image(encoded(NOISE, form)).size == NOISE.size
    assert load_image(encoded(NOISE, "JPEG", progressive=True)).size == NOISE.size
    with pytest.raises(AttributeError):
        load_image(encoded(NOISE, "TIFF"))


def test_the_header_of_a_ppm_is_read_once() -> None:
    """White space without end was tried in all ways that it can be divided, for years."""
    plain = encoded(NOISE, "PPM")
    assert plain.startswith(b"P6\n64 64\n255\n")
    commented = plain.replace(b"64 64", b"# by a tool\n \t64 # wide\n#\n64")
    assert (read_structure(commented).width, read_structure(commented).height) == (64, 64)
    with pytest.raises(DataError, match="truncated or corrupt"):
        load_image(b"P6" + b" \n" * 1000 + b"x")
