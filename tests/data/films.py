"""Films and documents that tests make: each frame's grey level says which frame it is."""

from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

SIZE = (64, 48)


def level(index: int, count: int) -> int:
    """Grey of a frame: far from the next one's, even after lossy coding, for up to 30 frames."""
    return round(20 + 215 * index / max(count - 1, 1))


def frames(count: int, size: tuple[int, int] = SIZE) -> list[Image.Image]:
    return [Image.new("RGB", size, (level(i, count),) * 3) for i in range(count)]


def index_of(frame: Image.Image, count: int) -> int:
    """Which of ``count`` frames a decoded one is."""
    mean = float(np.asarray(frame, np.float64).mean())
    return min(range(count), key=lambda i: abs(level(i, count) - mean))


def write_film(
    path: Path,
    pictures: list[Image.Image],
    *,
    codec: str = "libx264",
    rate: int = 10,
    container: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Encode pictures (``gop``, ``bf`` and the like as options)."""
    with av.open(str(path), "w", options=container or {}) as film:
        stream: Any = film.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height = pictures[0].size
        stream.bit_rate = 2_000_000
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for picture in pictures:
            film.mux(stream.encode(av.VideoFrame.from_image(picture)))
        film.mux(stream.encode())
    return path
