"""The sound of an audio file, through PyAV: mono, at one rate, its beginning as far as a model hears it.

All packets are read, so that a file that was cut off is told from a short one; only what is kept is decoded. FFmpeg
runs in a process that can be killed (:mod:`llave.data.bounded`). A film is refused: its sound track is not taken.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llave.data.bounded import run_bounded
from llave.data.door import named, reason_of
from llave.data.extras import need
from llave.errors import DataError, UserError

if TYPE_CHECKING:
    from av.container import InputContainer

__all__ = ["Hearing", "Sound", "SoundLimits", "load_sound", "mono_at", "sound_seconds"]

DEMUXERS = "wav,w64,aiff,caf,flac,mp3,ogg,aac,amr,asf,mov,mp4,matroska,webm"
SEALED = {"format_whitelist": DEMUXERS, "protocol_whitelist": "none"}
"""FFmpeg reads from our file handle and may open nothing else: no file, no address."""
MEASURED = {"flac", "mov", "matroska", "ogg"}
"""Formats that say how long the sound is, at their beginning or on their last page; others have it estimated."""
TOLERANCE = 0.25  # seconds by which a whole sound may end before its header or its last packet says
CHANNELS, RATE = 64, 768_000
ENDLESS = 0x7FFF_0000
"""Bytes that a WAV says it has when it was written into a pipe, or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """What a model hears of a sound.

    Args:
        rate: samples a second.
        seconds: from its beginning; what comes after them is not heard.
    """

    rate: int = 16_000
    seconds: float = 30.0

    @property
    def samples(self) -> int:
        """At most."""
        return round(self.rate * self.seconds)

    def cuts(self, seconds: float) -> bool:
        """Whether the end of a sound of so many seconds is not heard; codecs add up to a tenth."""
        return seconds > self.seconds + 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundLimits:
    """What one audio file may cost; beyond it, it is refused.

    Args:
        num_bytes: of the file.
        seconds: to read and decode it.
    """

    num_bytes: int = 512 * 1024**2
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Sound:
    """What is heard.

    Args:
        samples: (N,) float32, mono.
        rate: samples a second.
        seconds: of the whole sound, of which the samples may be the beginning.
    """

    samples: NDArray[np.float32]
    rate: int
    seconds: float


HEARING, LIMITS = Hearing(), SoundLimits()


def load_sound(source: Path | bytes, hearing: Hearing = HEARING, limits: SoundLimits = LIMITS) -> Sound:
    """The beginning of a local audio file (wav, flac, mp3, ogg, opus, m4a, aac, …). Safe to call from threads.

    Raises:
        DataError: missing, no sound in it, a film, truncated, corrupt or beyond a limit; the message names the file.
        UserError: PyAV is needed and not installed.
    """
    sound: Sound = _bounded(read_sound, source, limits, hearing)
    return sound


def sound_seconds(source: Path | bytes, limits: SoundLimits = LIMITS) -> float:
    """How long it is, by its packets, without decoding. Raises as :func:`load_sound`."""
    return float(_bounded(read_seconds, source, limits))


def mono_at(samples: Any, rate: int, hearing: Hearing) -> Sound:
    """An array of samples as a model hears it.

    Args:
        samples: (N,) or (channels, N), in any order of the two, numbers between -1 and 1.
        rate: of the samples.

    Raises:
        DataError: no such array, or nothing in it.
    """
    with named("a sound in memory", "cannot take it"):
        given = np.asarray(samples, dtype=np.float32)
        if given.ndim not in (1, 2) or not given.size or rate <= 0:
            raise DataError(f"a sound in memory: samples of shape {given.shape} at rate {rate}; give (N,) numbers")
        mono = given if given.ndim == 1 else given.mean(int(given.shape[0] > given.shape[1]), dtype=np.float32)
        seconds = len(mono) / rate
        mono = mono[: int(np.ceil(hearing.seconds * rate))]
        if rate != hearing.rate:
            import av

            need("av", "sounds of another rate")
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(mono[None]), format="fltp", layout="mono")
            frame.sample_rate = int(rate)
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=hearing.rate)
            parts = [part.to_ndarray()[0] for part in (*resampler.resample(frame), *resampler.resample(None))]
            mono = np.concatenate(parts)
        return Sound(_checked(mono[: hearing.samples], "a sound in memory"), hearing.rate, seconds)


def read_sound(source: Path | bytes, name: str, hearing: Hearing) -> Sound:
    """What :func:`load_sound` does in a process that can be killed."""
    with _opened(source, name) as track:
        parts, held = [], 0
        for samples in track.decoded(hearing.rate):
            parts.append(samples)
            held += len(samples)
            if held >= hearing.samples:
                break
        end = track.end()
    if not held:
        raise DataError(f"{name}: no sound in it, 0 samples; replace the file")
    seconds = held / hearing.rate
    if held < hearing.samples and seconds < end - TOLERANCE:  # parsers pass over what they cannot read
        raise DataError(f"{name}: only {seconds:.1f} s of its {end:.1f} s can be decoded; replace the file")
    samples = _checked(np.concatenate(parts)[: hearing.samples], name)
    return Sound(samples, hearing.rate, end if held >= hearing.samples else seconds)


def read_seconds(source: Path | bytes, name: str) -> float:
    """What :func:`sound_seconds` does there."""
    with _opened(source, name) as track:
        return track.end()


def _bounded(function: Any, source: Path | bytes, limits: SoundLimits, *more: Any) -> Any:
    name = str(source) if isinstance(source, Path) else f"{len(source):,} bytes"
    if isinstance(source, Path) and not source.is_file():
        raise DataError(f"{name}: no such sound")
    with named(name):
        size = source.stat().st_size if isinstance(source, Path) else len(source)
    if size > limits.num_bytes:
        raise DataError(f"{name}: more than {limits.num_bytes:,} bytes, the limit for a sound; shorten it")
    need("av", "sounds")
    return run_bounded(function, source, name, *more, seconds=limits.seconds, name=name)


def _checked(samples: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    if not np.isfinite(samples).all():
        raise DataError(f"{name}: samples that are not finite numbers; replace it")
    return samples


@contextmanager
def _opened(source: Path | bytes, name: str) -> Iterator["_Track"]:
    """The file, opened at its start. Whatever FFmpeg raises becomes ours."""
    import av

    try:
        with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as file:
            _refuse_cut_wav(file, name)
            with av.open(file, "r", options=SEALED) as container:
                yield _Track(container, name)
    except UserError:
        raise
    except Exception as error:
        raise DataError(
            f"{name}: not a whole sound that FFmpeg can read ({reason_of(error)}); replace the file"
        ) from None


def _refuse_cut_wav(file: IO[bytes], name: str) -> None:
    """FFmpeg takes what there is of a WAV for all of it."""
    head, size = file.read(8), file.seek(0, io.SEEK_END)
    file.seek(0)
    says = int.from_bytes(head[4:8], "little") + 8
    if head[:4] == b"RIFF" and size < says - 1 and says < ENDLESS:  # some forget the byte that makes its size even
        raise DataError(f"{name}: has {size:,} bytes of the {says:,} that its header says; download it again")


class _Track:
    """Reads the first audio stream of an open container, once."""

    def __init__(self, container: "InputContainer", name: str) -> None:
        from av.stream import Disposition

        if any(not stream.disposition & Disposition.attached_pic for stream in container.streams.video):
            raise DataError(f"{name}: a film, and its sound track is not taken; save the sound as a file")
        if not container.streams.audio:
            raise DataError(f"{name}: no sound in this file")
        self._name = name
        self._container = container
        self._stream: Any = container.streams.audio[0]
        channels, rate = self._stream.channels, self._stream.rate
        if channels > CHANNELS or not 0 < rate <= RATE:  # as announced: before anything is decoded
            raise DataError(
                f"{name}: {channels} channels of {rate:,} samples a second, and at most {CHANNELS} of {RATE:,}"
            )
        self._packets = container.demux(self._stream)
        self._end = 0.0
        begin, base = self._stream.start_time, self._stream.time_base
        self._begin = 0.0 if begin is None or base is None else float(begin * base)

    def decoded(self, rate: int) -> Iterator[NDArray[np.float32]]:
        """Samples (N,), the mean of the channels, at ``rate``, packet by packet.

        A last packet that cannot be decoded is what some programs write behind the sound; another one is damage.
        """
        import av

        resampler = av.AudioResampler(format="fltp", rate=rate)
        damage: Exception | None = None
        for packet in self._packets:
            if damage is not None and packet.size:
                raise damage
            self._see(packet)
            try:
                frames = packet.decode()
            except Exception as error:
                damage, frames = error, []
            for frame in frames:
                yield from self._mono(resampler.resample(frame))
        yield from self._mono(resampler.resample(None))

    def end(self) -> float:
        """Seconds of the whole, the packets that are left counted.

        Raises:
            DataError: it ends before its header says, as far as its format tells.
        """
        for packet in self._packets:
            self._see(packet)
        length = None if self._container.duration is None else self._container.duration / 1e6
        measured = MEASURED & set(self._container.format.name.split(","))
        found = max(self._end - self._begin, 0.0)
        if measured and length is not None and found < length - TOLERANCE:
            raise DataError(
                f"{self._name}: ends at {found:.1f} s of the {length:.1f} s that its header says; download it again"
            )
        return found

    def _see(self, packet: Any) -> None:
        if packet.size and packet.pts is not None:
            self._end = max(self._end, float((packet.pts + (packet.duration or 0)) * packet.time_base))

    def _mono(self, frames: Any) -> Iterator[NDArray[np.float32]]:
        for frame in frames:
            yield frame.to_ndarray().mean(0, dtype=np.float32)
