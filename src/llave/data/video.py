"""Frames of a video: a few, evenly spaced, decoded without holding the film.

A source is a film (mp4, webm, mkv, mov, avi, … through PyAV), an animated WebP, GIF or PNG (Pillow), or a folder of
frames. Which frames: ``floor(i * (N - 1) / (num_frames - 1))`` of the N there are, the first and the last among
them; all of them, in order and not repeated, where there are fewer than asked for. That is how VLM2Vec samples
MMEB-V2's folders of frames (its ``process_video_frames``); those folders hold up to 64 frames of a film.
"""

import re
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from llave.data.animation import read_animation
from llave.data.bounded import run_bounded
from llave.data.door import named
from llave.data.extras import need
from llave.data.film import read_film
from llave.data.formats.read import read_structure
from llave.data.images import load_image
from llave.data.video_limits import Budget, VideoLimits
from llave.errors import DataError, UserError

__all__ = ["NUM_FRAMES", "VideoLimits", "frame_paths", "is_animated", "load_video", "sample_indices"]

NUM_FRAMES = 8
"""Frames of a video that a model sees, as in MMEB-V2."""
FRAME_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
LIMITS = VideoLimits()
MOVING = re.compile(rb"GIF8[79]a|\x89PNG\r\n\x1a\n|RIFF....WEBPVP8", re.DOTALL)
QUICK_BYTES = 64 * 1024**2
QUICK_PIXELS = 50_000_000
"""Of all frames together: an animation that is decoded at once in the calling thread."""


def sample_indices(count: int, num_frames: int) -> list[int]:
    """Which of ``count`` frames are taken: evenly spaced, the first and the last included; all if they are fewer."""
    if num_frames >= count:
        return list(range(count))
    return [int(index) for index in np.linspace(0, count - 1, num_frames).astype(int)]


def load_video(source: str | Path, *, num_frames: int = NUM_FRAMES, limits: VideoLimits = LIMITS) -> list[Image.Image]:
    """At most ``num_frames`` frames of a local video, upright and in RGB, in order. Safe to call from threads.

    Args:
        source: a film, an animated picture, or a folder of frames (``frame2`` comes before ``frame10``).
        num_frames: a video that has fewer gives those it has.
        limits: what is beyond them is refused, except that a large frame is scaled down.

    Raises:
        DataError: missing, not a video, truncated, corrupt or beyond a limit; the message names the file.
        UserError: ``num_frames`` below 1, or PyAV is needed and not installed.
    """
    if num_frames < 1:
        raise UserError(f"num_frames must be at least 1, not {num_frames}")
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(source), re.IGNORECASE):
        raise DataError(f"{source}: an address, not a file; download the video first")
    path = Path(source)
    if path.is_dir():
        return _from_folder(path, num_frames, limits)
    if not path.is_file():
        raise DataError(f"{path}: no such video")
    with named(str(path)), path.open("rb") as file:
        moving = MOVING.match(file.read(16)) is not None
        size = path.stat().st_size
    if size > limits.num_bytes:
        raise DataError(f"{path}: more than {limits.num_bytes:,} bytes, the limit for a video; shorten it")
    if moving and size <= QUICK_BYTES:
        with named(str(path)):
            structure = read_structure(path.read_bytes())
            if structure.pixels * structure.frames <= QUICK_PIXELS:
                return frames_of(path, num_frames, limits)
    elif not moving:
        need("av", "films")
    return run_bounded(frames_of, path, num_frames, limits, seconds=limits.seconds, name=str(path))


def is_animated(source: Path | bytes) -> bool:
    """Whether a GIF, WebP or PNG has several frames, by its structure. Never raises: loading says what is wrong."""
    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                head = file.read(16)
                source = head + file.read(LIMITS.num_bytes) if MOVING.match(head) else head
        return MOVING.match(source) is not None and read_structure(source).frames > 1
    except Exception:  # whatever a broken or missing file leads to
        return False


def frame_paths(folder: Path) -> list[Path]:
    """The pictures of a folder of frames, numbers in their names sorted as numbers."""
    paths = [path for path in folder.iterdir() if path.suffix.lower() in FRAME_SUFFIXES and path.name[0] != "."]
    return sorted(paths, key=lambda path: _natural(path.name))


def frames_of(path: Path, num_frames: int, limits: VideoLimits) -> list[Image.Image]:
    """Of an animation or a film; a slow one is to be read where it can be killed."""
    budget = Budget(path, limits)
    choose = partial(sample_indices, num_frames=num_frames)
    with path.open("rb") as file:
        moving = MOVING.match(file.read(16)) is not None
    return read_animation(path.read_bytes(), choose, budget) if moving else read_film(path, choose, budget)


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    parts = re.split(r"([0-9]+)", name.lower())
    return [(int(part), "") if index % 2 else (-1, part) for index, part in enumerate(parts)], name


def _from_folder(folder: Path, num_frames: int, limits: VideoLimits) -> list[Image.Image]:
    paths = frame_paths(folder)
    if not paths:
        raise DataError(f"{folder}: no frames in this folder ({', '.join(sorted(FRAME_SUFFIXES))})")
    budget = Budget(folder, limits)
    budget.count(len(paths))
    chosen = [paths[index] for index in sample_indices(len(paths), num_frames)]
    return [budget.kept(load_image(path, max_pixels=limits.pixels)) for path in chosen]
