"""Files of few bytes that ask for much."""

import base64
import gzip
import io
import struct
import tempfile
import zlib

from PIL import Image

__all__ = ["animation", "base64_of", "film", "gif", "gzipped", "png", "png_text", "scans", "webp"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def base64_of(data: bytes) -> str:
    """As requests carry it."""
    return base64.b64encode(data).decode()


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """The file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def gzipped() -> bytes:
    """A gigabyte."""
    return gzip.compress(b" " * (1 << 28), 9) * 4


def png(width: int, height: int) -> bytes:
    """One colour; what would be more than 100 million pixels says so and ends."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    rows = height if width * height < 100_000_000 else 1
    packed = b"".join(packer.compress(bytes(1 + width)) for _ in range(rows)) + packer.flush()
    return SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def png_text() -> bytes:
    """A good picture with a compressed text of 200 MB."""
    whole = encoded(Image.new("RGB", (8, 8)), "PNG")
    text = _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200 << 20), 9))
    return whole[:33] + text + whole[33:]


def scans() -> bytes:
    """A JPEG of 20 megapixels whose last scan comes 3,000 times."""
    plain = encoded(Image.new("L", (5000, 4000), 128), "JPEG", progressive=True, quality=50)
    start = plain.rfind(b"\xff\xda")
    return plain[:-2] + plain[start:-2] * 3000 + plain[-2:]


def webp() -> bytes:
    """50 megapixels."""
    return encoded(Image.new("RGB", (8000, 6200)), "WEBP", lossless=True, method=0)


def gif() -> bytes:
    """A screen of 3.6 gigapixels with a frame of four pixels."""
    small = bytearray(encoded(Image.new("P", (2, 2)), "GIF"))
    small[6:10] = struct.pack("<HH", 60_000, 60_000)
    return bytes(small)


def animation(form: str) -> bytes:
    """500 large frames, which a small file holds."""
    frames = [Image.new("P" if form == "GIF" else "RGB", (1000, 800), n % 2) for n in range(2)]
    return encoded(frames[0], form, save_all=True, append_images=[*frames[1:], *frames] * 166, duration=10)


def film() -> bytes:
    """Twelve seconds of full HD, all black."""
    import av

    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        with av.open(file.name, "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height = 1920, 1080
            black = av.VideoFrame.from_image(Image.new("RGB", (1920, 1080)))
            for number in range(300):
                black.pts = number
                container.mux(stream.encode(black))
            container.mux(stream.encode(None))
        file.seek(0)
        return file.read()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
