"""Pictures and videos that are made to do harm: refused by name, and the process stays small."""

import base64
import io
import re
import struct
import subprocess
import sys
import textwrap
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from llave.data.images import load_image
from tests.data.films import frames, write_film
from tests.serving.running import Running, encoded

MIB = 1 << 20


def uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64," + base64.b64encode(data).decode()


def refused(server: Running, item: dict[str, str], status: int = 400) -> dict[str, Any]:
    response = server.embed(["beside", item])
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["param"] == "input[1]"
    assert not re.search("0x[0-9a-f]{6}", error["message"])
    assert "/tmp" not in error["message"]
    return error


class Peak:
    """The most memory that this process had during a block."""

    def __enter__(self) -> "Peak":
        self.before = self.most = psutil.Process().memory_info().rss
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._end.wait(0.005):
            self.most = max(self.most, psutil.Process().memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    @property
    def grown(self) -> int:
        return self.most - self.before


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of one colour: kilobytes that become gigabytes."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packer = zlib.compressobj(9)
    part = bytes(1 << 20)
    packed = b"".join(packer.compress(part) for _ in range((1 + 3 * width) * height // len(part))) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def gif_bomb(side: int) -> bytes:
    """A GIF whose screen is large and whose frame is tiny."""
    small = bytearray(encoded(Image.new("P", (2, 2)), "GIF"))
    small[6:10] = struct.pack("<HH", side, side)
    return bytes(small)


def webp_bomb(side: int) -> bytes:
    return encoded(Image.new("RGB", (side, side)), "WEBP", lossless=True, method=0)


@pytest.mark.parametrize("make", [lambda: png_bomb(16_000, 9400), lambda: gif_bomb(60_000), lambda: webp_bomb(10_001)])
def test_bombs_are_not_decoded(server: Running, make: Callable[[], bytes]) -> None:
    data = make()
    server.vectors("warm")
    with Peak() as peak:
        error = refused(server, {"image": uri(data)})
    assert error["code"] == "image_too_large"
    assert peak.grown < 40 * MIB


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_photo_of_50_megapixels_is_reduced(server: Running, form: str) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
    data = encoded(Image.fromarray(grey).resize((8160, 6120)).convert("RGB"), form, quality=80)
    whole = server.engine.model.encode([load_image(data)], normalize_embeddings=True)[0]
    with Peak() as peak:
        vector = server.vectors([{"image": uri(data)}])[0]
    assert np.allclose(vector, whole, atol=1e-5)
    assert peak.grown < 450 * MIB


def test_many_large_pictures_wait_for_memory(server: Running) -> None:
    """Each is allowed, and 16 of them at once would hold 900 MB."""
    data = encoded(Image.new("RGB", (4400, 4400), "red"))
    pictures = [{"image": uri(data), "text": str(number)} for number in range(16)]
    media = server.app.state.service.media
    assert media.held == 0
    with Peak() as peak:
        vectors = server.vectors(pictures)
    assert len(vectors) == 16
    assert media.held == 0
    assert peak.grown < 850 * MIB


def test_an_animation_is_its_first_frame(server: Running) -> None:
    first, *rest = frames(40, (64, 64))
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=rest)
    alone = server.vectors([{"image": uri(encoded(Image.open(file).convert("RGB")))}])
    np.testing.assert_allclose(server.vectors([{"image": uri(file.getvalue())}]), alone, atol=1e-5)


def test_odd_pictures_are_pictures(server: Running) -> None:
    grey = Image.fromarray(np.linspace(0, 65535, 64 * 64, dtype=np.uint16).reshape(64, 64))
    turned = Image.new("RGB", (60, 30), "red")
    turned.paste("blue", (0, 0, 20, 30))
    exif = turned.getexif()
    exif[0x0112] = 6
    clear = Image.new("RGBA", (30, 30), (255, 0, 0, 0))
    found = [
        encoded(Image.new("RGB", (1, 1), "red")),
        encoded(Image.new("CMYK", (40, 40), (10, 200, 30, 0)), "JPEG"),
        encoded(grey),
        encoded(turned, "JPEG", exif=exif),
        encoded(clear),
        encoded(Image.new("1", (33, 17), 1)),
        encoded(Image.new("RGB", (3000, 2), "green")),
    ]
    vectors = server.vectors([{"image": uri(data)} for data in found])
    model = server.engine.model
    wanted = model.encode([load_image(data) for data in found], normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(vectors, wanted, atol=1e-5)


def test_what_is_no_picture(server: Running) -> None:
    good = encoded(Image.new("RGB", (200, 200), "red"), "JPEG")
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"
    bad = {
        "empty": b"",
        "text": b"GET / HTTP/1.1",
        "svg": svg,
        "truncated": good[: len(good) // 2],
        "head alone": good[:30],
        "bmp": encoded(Image.new("RGB", (20, 20)), "BMP"),
        "tiff": encoded(Image.new("RGB", (20, 20)), "TIFF"),
        "ico": encoded(Image.new("RGB", (32, 32)), "ICO"),
        "ppm": encoded(Image.new("RGB", (20, 20)), "PPM"),
        "pdf": encoded(Image.new("RGB", (20, 20)), "PDF"),
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/etc/passwd) run\n",
        "wrong checksum": png_bomb(8, 8)[:-20] + b"\0" * 20,
    }
    for name, data in bad.items():
        assert refused(server, {"image": uri(data)})["code"] in {"invalid_image", "invalid_media"}, name


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("not base64!", "invalid_base64"),
        ("aGVsbG8gd", "invalid_base64"),
        ("aGVs,bG8=", "invalid_base64"),
        ("data:image/png;base64,@@@@", "invalid_base64"),
        ("data:;base64", "invalid_base64"),
        ("file:///etc/passwd", "remote_not_allowed"),
        ("FILE:/etc/passwd", "remote_not_allowed"),
        ("/etc/hosts.deny", "invalid_base64"),
        ("../../etc/passwd", "invalid_base64"),
        ("https://example.org/a.png", "remote_not_allowed"),
        ("http://127.0.0.1:8000/metrics", "remote_not_allowed"),
        ("gopher://127.0.0.1", "remote_not_allowed"),
        ("", "invalid_media"),
    ],
)
def test_addresses_and_base64(server: Running, given: str, code: str) -> None:
    for name in ("image", "video"):
        assert refused(server, {name: given})["code"] == code
    assert refused(server, {"image": given, "text": "with a text"})["code"] == code


def test_videos(server: Running, tmp_path: Path) -> None:
    good = write_film(tmp_path / "good.mp4", frames(30)).read_bytes()
    wide = write_film(tmp_path / "wide.mp4", frames(2, (2560, 1440))).read_bytes()
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
    concat = b"ffconcat version 1.0\nfile /etc/passwd\n"
    for name, data in {
        "truncated": good[: len(good) // 2],
        "wide": wide,
        "playlist": playlist,
        "concat": concat,
        "text": b"hello",
    }.items():
        assert refused(server, {"video": uri(data, "video/mp4")})["code"] == "invalid_video", name
    server.vectors({"video": uri(good, "video/mp4")})


def test_a_video_of_too_many_frames(server: Running, tmp_path: Path) -> None:
    first, *rest = [Image.new("P", (8, 8), number % 200) for number in range(3700)]
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=rest, optimize=False, disposal=2)
    with Peak() as peak:
        error = refused(server, {"video": uri(file.getvalue(), "image/gif")})
    assert "frames" in error["message"]
    assert peak.grown < 100 * MIB


def test_no_file_is_left(server: Running, tmp_path: Path, own_temporary_folder: Path) -> None:
    film = uri(write_film(tmp_path / "a.mp4", frames(10)).read_bytes(), "video/mp4")
    server.vectors({"video": film})
    refused(server, {"video": uri(b"nothing", "video/mp4")})
    assert [path.name for path in own_temporary_folder.iterdir() if path.name.startswith("llave-")] == []


def test_too_many_bytes(server: Running) -> None:
    noise = np.random.default_rng(0).bytes(21 * MIB)
    error = refused(server, {"image": base64.b64encode(noise).decode()}, 413)
    assert error["type"] == "request_too_large"


def test_decoding_needs_no_more_than_it_says() -> None:
    """A process that decodes the largest picture allowed, with transparency, which is the dearest way."""
    script = """
    import io, resource, sys
    from PIL import Image
    from llave.data.images import load_image
    data = sys.stdin.buffer.read()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    load_image(data, max_pixels=20_000_000)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    data = encoded(Image.new("RGBA", (4472, 4472), (255, 0, 0, 100)))
    shown = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], input=data, capture_output=True, check=True
    ).stdout
    assert int(shown) < 420 * 1024
