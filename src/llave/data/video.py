"""Frames of a video: a few, evenly spaced, decoded without holding the film.

A source is a film (mp4, webm, mkv, mov, avi, … through PyAV), an animated WebP, GIF or PNG (Pillow), or a folder of
frames. Which frames: see :mod:`llave.data.frames`.
"""

import math
import re
from functools import partial
from pathlib import Path

from llave.data.animation import read_animation
from llave.data.bounded import run_bounded
from llave.data.door import named
from llave.data.extras import need
from llave.data.film import read_film
from llave.data.formats.read import read_structure
from llave.data.frames import NUM_FRAMES, Choose, Frames, sample_indices
from llave.data.images import load_image
from llave.data.video_limits import Budget, VideoLimits
from llave.errors import DataError, UserError

__all__ = ["NUM_FRAMES", "VideoLimits", "frame_paths", "has_rate", "is_animated", "load_video"]

FRAME_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
LIMITS = VideoLimits()
MOVING = re.compile(rb"GIF8[79]a|\x89PNG\r\n\x1a\n|RIFF....WEBPVP8", re.DOTALL)
QUICK_BYTES = 64 * 1024**2
QUICK_PIXELS = 50_000_000
"""Of all frames together: an animation that is decoded at once in the calling thread."""


def load_video(
    source: str | Path,
    *,
    num_frames: int = NUM_FRAMES,
    fps: float | None = None,
    folder_rate: float | None = None,
    limits: VideoLimits = LIMITS,
) -> Frames:
    """At most ``num_frames`` frames of a local video, upright and in RGB, in order, and their times. Threads may call.

    Args:
        source: a film, an animated picture, or a folder of frames (``frame2`` comes before ``frame10``).
        num_frames: at most; a video that has fewer gives those it has.
        fps: frames to take of a second of a film; None spaces ``num_frames`` evenly.
        folder_rate: frames a second that a folder of frames holds; None: their times are not known.
        limits: what is beyond them is refused, except that a large frame is scaled down.

    Raises:
        DataError: missing, not a video, truncated, corrupt or beyond a limit; the message names the file.
        UserError: ``num_frames`` below 1, ``fps`` or ``folder_rate`` not above 0, or PyAV is needed and not installed.
    """
    if num_frames < 1:
        raise UserError(f"num_frames must be at least 1, not {num_frames}")
    for name, rate in (("fps", fps), ("folder_rate", folder_rate)):
        if rate is not None and not 0 < rate < math.inf:
            raise UserError(f"{name} must be a number above 0, not {rate:g}")
    choose = partial(sample_indices, num_frames=num_frames, fps=fps)
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(source), re.IGNORECASE):
        raise DataError(f"{source}: an address, not a file; download the video first")
    path = Path(source)
    if path.is_dir():
        return _from_folder(path, choose, folder_rate, limits)
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
                return frames_of(path, choose, limits)
    elif not moving:
        need("av", "films")
    return run_bounded(frames_of, path, choose, limits, seconds=limits.seconds, name=str(path))


def has_rate(path: Path) -> bool:
    """Whether frames can be taken by the second: of a film, not of a folder of frames or an animation."""
    return path.is_file() and not is_animated(path)


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


def frames_of(path: Path, choose: Choose, limits: VideoLimits) -> Frames:
    """Of an animation or a film; a slow one is to be read where it can be killed."""
    budget = Budget(path, limits)
    with path.open("rb") as file:
        moving = MOVING.match(file.read(16)) is not None
    return read_animation(path.read_bytes(), choose, budget) if moving else read_film(path, choose, budget)


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    parts = re.split(r"([0-9]+)", name.lower())
    return [(int(part), "") if index % 2 else (-1, part) for index, part in enumerate(parts)], name


def _from_folder(folder: Path, choose: Choose, rate: float | None, limits: VideoLimits) -> Frames:
    paths = frame_paths(folder)
    if not paths:
        raise DataError(f"{folder}: no frames in this folder ({', '.join(sorted(FRAME_SUFFIXES))})")
    budget = Budget(folder, limits)
    budget.count(len(paths))
    chosen = choose(len(paths), rate)
    frames = [budget.kept(load_image(paths[index], max_pixels=limits.pixels)) for index in chosen]
    return Frames(frames, None if rate is None else [index / rate for index in chosen])
