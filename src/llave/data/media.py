"""The bytes that decide what a picture, a page or a video shows, for the keys of caches."""

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

from llave.data.frames import frames_key
from llave.data.pages import DPI, split_page
from llave.data.video import frame_paths

__all__ = ["media_bytes"]

BLOCK = 1 << 20


def media_bytes(
    path: Path, *, num_frames: int | None = None, fps: float | None = None, folder_rate: float | None = None
) -> Iterator[bytes]:
    """Content and reading of a file, in blocks.

    A picture is the bytes of its file. A page is the hash of its document, its number and its resolution. A folder
    of frames is the names and the hashes of all of them, in order.

    Args:
        path: a picture, ``FILE.pdf#page=3``, a film, or a folder of frames.
        num_frames, fps, folder_rate: of a video: with other frames, or other times of them, it is another input.

    Raises:
        OSError: it cannot be read.
    """
    file, page = split_page(path)
    if page is not None:
        yield _digest(file) + f"#page={page}@{DPI}".encode()
    elif path.is_dir():
        for frame in frame_paths(path):
            yield f"{len(frame.name)}:{frame.name}".encode("utf-8", "surrogatepass") + _digest(frame)
    else:
        yield from _blocks(path)
    if num_frames is not None:
        yield frames_key(num_frames, fps, folder_rate)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def _digest(path: Path) -> bytes:
    """SHA-256 of a file; a document is read once, not once for each of its pages."""
    stat = path.stat()
    return _digest_of(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _digest_of(path: Path, size: int, mtime: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
