"""Chosen frames of a film, through PyAV: local, bounded, and without decoding what lies between.

Packets are counted without decoding. Then each frame is sought from the key frame before it, or, where packets and
frames do not correspond, the film is decoded in order. Only the frames asked for are held.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from llave.data.door import reason_of
from llave.data.frames import Choose, Frames
from llave.data.video_limits import Budget
from llave.errors import DataError, UserError

if TYPE_CHECKING:
    from av.container import InputContainer

__all__ = ["read_film"]

DEMUXERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,ivf,h264,hevc"
"""Containers that hold their own frames. Playlists (hls, dash, concat, …), which name other files, are not here."""
SEALED = {"format_whitelist": DEMUXERS, "protocol_whitelist": "none"}
"""FFmpeg reads from our file handle and may open nothing else: no file, no address."""
TOLERANCE = 1.0  # seconds by which a whole film may end before its header says


def read_film(path: Path, choose: Choose, budget: Budget) -> Frames:
    """Frames of the first video stream, upright and in RGB, and their times from its start.

    Args:
        path: the file.
        choose: the frames to take.
        budget: what it may cost.

    Raises:
        DataError: not a film, truncated, corrupt or beyond a limit.
    """
    with _film(path, budget) as film:
        timeline, rate = film.timeline(), film.rate
    with _film(path, budget) as film:
        frames = film.sought(timeline, choose(len(timeline.times), rate))
    if frames is None:
        count = len(timeline.times)
        with _film(path, budget) as film:
            frames, decoded = film.in_order(choose(count, rate))
        if decoded != count:  # a packet is not always a frame; now the number is known
            with _film(path, budget) as film:
                frames, _ = film.in_order(choose(decoded, rate))
    if not frames:
        raise DataError(f"{path}: no frame in this video; replace the file")
    return frames


@contextmanager
def _film(path: Path, budget: Budget) -> Iterator["_Film"]:
    """The film, opened at its start. Whatever FFmpeg raises becomes ours."""
    import av

    try:
        with path.open("rb") as file, av.open(file, "r", options=SEALED) as container:
            if not container.streams.video:
                raise DataError(f"{path}: no video in this file")
            yield _Film(container, budget)
    except UserError:
        raise
    except Exception as error:
        raise DataError(
            f"{path}: not a whole video that FFmpeg can read ({reason_of(error)}); replace the file"
        ) from None


@dataclass(frozen=True, slots=True)
class _Timeline:
    """Presentation times of a film's frames, and of those from which decoding can start, in order; None: unknown."""

    times: list[int | None]
    keys: list[int]


class _Film:
    """Reads the first video stream of an open container."""

    def __init__(self, container: "InputContainer", budget: Budget) -> None:
        self.container = container
        self.stream = container.streams.video[0]
        self.stream.thread_type = "AUTO"
        self.budget = budget
        budget.measure(self.stream.width, self.stream.height)  # as announced: before a frame is decoded
        average = self.stream.average_rate
        self.rate = float(average) if average else None

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

    def sought(self, timeline: _Timeline, indices: Iterable[int]) -> Frames | None:
        """The frames at these places of the timeline; None where frames cannot be found by their packets' times."""
        times = timeline.times
        if None in times or len(set(times)) < len(times):
            return None
        kept, seconds = [], []
        frames, position = self._frames(), None
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
            seconds.append(float((wanted - (times[0] or 0)) * (self.stream.time_base or 0)))
        return Frames(kept, seconds)

    def in_order(self, indices: Iterable[int]) -> tuple[Frames, int]:
        """The frames at ``indices`` of the whole film, and how many it has."""
        wanted, kept, decoded = set(indices), [], 0
        times: list[float | None] = []
        start = 0.0
        for frame in self._frames():
            start = frame.time or 0.0 if decoded == 0 else start
            if decoded in wanted:
                kept.append(self._picture(frame))
                times.append(None if frame.time is None else frame.time - start)
            decoded += 1
        seconds = [time for time in times if time is not None]
        if len(seconds) < len(times):  # a raw stream (h264) that says no times
            seconds = [index / self.rate for index in sorted(wanted)[: len(times)]] if self.rate else []
        return Frames(kept, seconds or None), decoded

    def _frames(self) -> Iterator[Any]:
        for frame in self.container.decode(self.stream):
            self.budget.decoded(frame.width, frame.height)
            yield frame

    def _picture(self, frame: Any) -> Image.Image:
        if frame.is_corrupt:
            raise DataError(f"{self.budget.path}: a corrupt frame at {frame.time} s; replace the file")
        picture = self.budget.kept(frame.to_image())
        return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture
