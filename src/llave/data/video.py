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
from PIL import Image, UnidentifiedImageError

from llave.data.film import read_film
from llave.data.images import load_image, to_rgb
from llave.data.video_limits import Budget, VideoLimits
from llave.errors import DataError, UserError

__all__ = ["NUM_FRAMES", "VideoLimits", "frame_paths", "load_video", "sample_indices"]

NUM_FRAMES = 8
"""Frames of a video that a model sees, as in MMEB-V2."""
FRAME_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
LIMITS = VideoLimits()


def sample_indices(count: int, num_frames: int) -> list[int]:
    """Which of ``count`` frames are taken: evenly spaced, the first and the last included; all if they are fewer."""
    if num_frames >= count:
        return list(range(count))
    return [int(index) for index in np.linspace(0, count - 1, num_frames).astype(int)]


def load_video(source: str | Path, *, num_frames: int = NUM_FRAMES, limits: VideoLimits = LIMITS) -> list[Image.Image]:
    """At most ``num_frames`` frames of a local video, upright and in RGB, in order.

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
    if path.stat().st_size > limits.num_bytes:
        raise DataError(f"{path}: more than {limits.num_bytes:,} bytes, the limit for a video; shorten it")
    budget = Budget(path, limits)
    return (
        _from_animation(path, num_frames, budget)
        if _is_animation(path)
        else read_film(path, partial(sample_indices, num_frames=num_frames), budget)
    )


def frame_paths(folder: Path) -> list[Path]:
    """The pictures of a folder of frames, numbers in their names sorted as numbers."""
    paths = [path for path in folder.iterdir() if path.suffix.lower() in FRAME_SUFFIXES and path.name[0] != "."]
    return sorted(paths, key=lambda path: _natural(path.name))


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


def _is_animation(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[:4] == b"GIF8" or head[:8] == b"\x89PNG\r\n\x1a\n" or (head[:4] == b"RIFF" and head[8:] == b"WEBP")


def _from_animation(path: Path, num_frames: int, budget: Budget) -> list[Image.Image]:
    kept = []
    try:
        with Image.open(path) as image:
            count = getattr(image, "n_frames", 1)
            budget.count(count)
            wanted = set(sample_indices(count, num_frames))
            for index in range(max(wanted) + 1):
                budget.decoded(*image.size)
                image.seek(index)
                if index in wanted:
                    image.load()
                    kept.append(budget.kept(to_rgb(image.copy())))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: truncated or corrupt ({error}); replace the file") from None
    return kept
