"""Frames of a video: a few, evenly spaced, decoded without holding the film.

A source is a film (mp4, webm, mkv, mov, avi, … through PyAV), an animated WebP, GIF or PNG (Pillow), or a folder of
frames. Which frames: ``floor(i * (N - 1) / (num_frames - 1))`` of the N there are, the first and the last among
them; all of them, in order and not repeated, where there are fewer than asked for. That is how VLM2Vec samples
MMEB-V2's folders of frames (its ``process_video_frames``); those folders hold up to 64 frames of a film.

A film's packets are counted without decoding. Then each frame is sought from the key frame before it, or, where packets
and frames do not correspond, the film is decoded in order. Only the frames asked for are held.
"""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from llave.data.images import load_image, to_rgb
from llave.errors import DataError, UserError

if TYPE_CHECKING:
    from av.container import InputContainer

__all__ = ["NUM_FRAMES", "VideoLimits", "frame_paths", "load_video", "sample_indices"]

NUM_FRAMES = 8
"""Frames of a video that a model sees, as in MMEB-V2."""
FRAME_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
DEMUXERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,ivf,h264,hevc"
"""Containers that hold their own frames. Playlists (hls, dash, concat, …), which name other files, are not here."""
SEALED = {"format_whitelist": DEMUXERS, "protocol_whitelist": "none"}
"""FFmpeg reads from our file handle and may open nothing else: no file, no address."""
TOLERANCE = 1.0  # seconds by which a whole film may end before its header says


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoLimits:
    """What a video may cost.

    Args:
        num_bytes: of the file.
        num_frames: in the file or folder; also of those decoded to reach the ones that are kept.
        pixels: of one frame.
        seconds: to read and decode it.
    """

    num_bytes: int = 2 * 1024**3
    num_frames: int = 200_000
    pixels: int = 4096 * 2304
    seconds: float = 120.0


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
        limits: what is beyond them is refused.

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
    budget = _Budget(path, limits)
    return _from_animation(path, num_frames, budget) if _is_animation(path) else _from_film(path, num_frames, budget)


def frame_paths(folder: Path) -> list[Path]:
    """The pictures of a folder of frames, numbers in their names sorted as numbers."""
    paths = [path for path in folder.iterdir() if path.suffix.lower() in FRAME_SUFFIXES and path.name[0] != "."]
    return sorted(paths, key=lambda path: _natural(path.name))


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    parts = re.split(r"([0-9]+)", name.lower())
    return [(int(part), "") if index % 2 else (-1, part) for index, part in enumerate(parts)], name


class _Budget:
    """Counts the work on one file and ends it at a limit."""

    def __init__(self, path: Path, limits: VideoLimits) -> None:
        self.path = path
        self.limits = limits
        self._deadline = time.monotonic() + limits.seconds
        self._decoded = 0

    def tick(self) -> None:
        if time.monotonic() > self._deadline:
            raise DataError(f"{self.path}: more than {self.limits.seconds:g} s of decoding, the limit; shorten it")

    def count(self, frames: int) -> None:
        if frames > self.limits.num_frames:
            raise DataError(f"{self.path}: more than {self.limits.num_frames:,} frames, the limit; shorten the video")

    def decoded(self, width: int, height: int) -> None:
        self._decoded += 1
        self.count(self._decoded)
        self.tick()
        if width * height > self.limits.pixels:
            raise DataError(
                f"{self.path}: frames of {width}x{height} pixels, more than the limit of {self.limits.pixels:,}; "
                "scale the video down"
            )


def _from_folder(folder: Path, num_frames: int, limits: VideoLimits) -> list[Image.Image]:
    paths = frame_paths(folder)
    if not paths:
        raise DataError(f"{folder}: no frames in this folder ({', '.join(sorted(FRAME_SUFFIXES))})")
    _Budget(folder, limits).count(len(paths))
    return [load_image(paths[index], max_pixels=limits.pixels) for index in sample_indices(len(paths), num_frames)]


def _is_animation(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[:4] == b"GIF8" or head[:8] == b"\x89PNG\r\n\x1a\n" or (head[:4] == b"RIFF" and head[8:] == b"WEBP")


def _from_animation(path: Path, num_frames: int, budget: _Budget) -> list[Image.Image]:
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
                    kept.append(to_rgb(image.copy()))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: truncated or corrupt ({error}); replace the file") from None
    return kept


def _from_film(path: Path, num_frames: int, budget: _Budget) -> list[Image.Image]:
    with _film(path, budget) as film:
        timeline = film.timeline()
    with _film(path, budget) as film:
        frames = film.sought(timeline, sample_indices(len(timeline.times), num_frames))
    if frames is None:
        count = len(timeline.times)
        with _film(path, budget) as film:
            frames, decoded = film.in_order(sample_indices(count, num_frames))
        if decoded != count:  # a packet is not always a frame; now the number is known
            with _film(path, budget) as film:
                frames, _ = film.in_order(sample_indices(decoded, num_frames))
    if not frames:
        raise DataError(f"{path}: no frame in this video; replace the file")
    return frames


@contextmanager
def _film(path: Path, budget: _Budget) -> Iterator["_Film"]:
    """The film, opened at its start. FFmpeg's errors become ours."""
    av = _av()
    try:
        with path.open("rb") as file, av.open(file, options=SEALED) as container:
            if not container.streams.video:
                raise DataError(f"{path}: no video in this file")
            yield _Film(container, budget)
    except (av.error.FFmpegError, OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: not a whole video that FFmpeg can read ({reason}); replace the file") from None


@dataclass(frozen=True, slots=True)
class _Timeline:
    """Presentation times of a film's frames, and of those from which decoding can start, in order; None: unknown."""

    times: list[int | None]
    keys: list[int]


class _Film:
    """Reads the first video stream of an open container."""

    def __init__(self, container: "InputContainer", budget: _Budget) -> None:
        self.container = container
        self.stream = container.streams.video[0]
        self.stream.thread_type = "AUTO"
        self.budget = budget

    def timeline(self) -> _Timeline:
        """Read all packets, decode none.

        Raises:
            DataError: the file ends before its header says, as far as its format tells (mp4, mov, mkv, webm, avi).
        """
        times: list[int | None] = []
        keys: list[int] = []
        packets, end = 0, 0.0
        for packet in self.container.demux():
            self.budget.tick()
            if packet.size and packet.time_base is not None and packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream is self.stream and packet.size:
                packets += 1
                self.budget.count(packets)
                if not packet.is_discard:
                    times.append(packet.pts)
                if packet.is_keyframe and packet.pts is not None:
                    keys.append(packet.pts)
        container = self.container
        length = None if container.duration is None else (container.duration + (container.start_time or 0)) / 1e6
        measured = {"mov", "matroska"} & set(container.format.name.split(","))  # others estimate it
        if packets < self.stream.frames or (measured and length is not None and end < length - TOLERANCE):
            raise DataError(
                f"{self.budget.path}: ends at {end:.1f} s, after {packets} frames, before its header says; "
                "download it again"
            )
        return _Timeline(sorted(times, key=lambda time: (time is None, time or 0)), sorted(keys))

    def sought(self, timeline: _Timeline, indices: Iterable[int]) -> list[Image.Image] | None:
        """The frames at these places of the timeline; None where frames cannot be found by their packets' times."""
        times = timeline.times
        if None in times or len(set(times)) < len(times):
            return None
        kept, frames, position = [], self._frames(), None
        for index in indices:
            wanted = times[index]
            assert wanted is not None
            key = max((time for time in timeline.keys if time <= wanted), default=None)
            if position is not None and key is not None and key > position:
                try:
                    self.container.seek(key, stream=self.stream)
                except OSError:  # FFmpeg's errors are of this kind too: a format without an index
                    return None
                frames = self._frames()
            frame = next((frame for frame in frames if frame.pts is None or frame.pts >= wanted), None)
            if frame is None or frame.pts != wanted or frame.is_corrupt:
                return None
            position = wanted
            kept.append(self._picture(frame))
        return kept

    def in_order(self, indices: Iterable[int]) -> tuple[list[Image.Image], int]:
        """The frames at ``indices`` of the whole film, and how many it has."""
        wanted, kept, decoded = set(indices), [], 0
        for frame in self._frames():
            if decoded in wanted:
                kept.append(self._picture(frame))
            decoded += 1
        return kept, decoded

    def _frames(self) -> Iterator[Any]:
        for frame in self.container.decode(self.stream):
            self.budget.decoded(frame.width, frame.height)
            yield frame

    def _picture(self, frame: Any) -> Image.Image:
        if frame.is_corrupt:
            raise DataError(f"{self.budget.path}: a corrupt frame at {frame.time} s; replace the file")
        picture: Image.Image = frame.to_image()
        return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture


def _av() -> Any:
    try:
        import av
        import av.error
    except ImportError:
        raise UserError("films need the package av: pip install 'llave[media]'") from None
    return av
