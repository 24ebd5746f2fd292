"""Sounds that tests make: spoken by espeak-ng, or computed, in any format that PyAV writes."""

import functools
import io
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tests.programs import program

CODECS = {".mp3": "libmp3lame", ".flac": "flac", ".ogg": "libopus", ".opus": "libopus", ".m4a": "aac", ".aac": "aac"}
RATE = 24_000
"""Of all that is written here: every one of the codecs takes it."""


@functools.cache
def speech(words: str) -> bytes:
    """A WAV of 22,050 samples a second."""
    return subprocess.run([program("espeak-ng"), "-w", "/dev/stdout", words], check=True, capture_output=True).stdout


def tone(seconds: float, hertz: float = 440.0, rate: int = RATE) -> NDArray[np.float32]:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def samples_of(wav: bytes) -> NDArray[np.float32]:
    """All of it at :data:`RATE`, by PyAV alone."""
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
    with av.open(io.BytesIO(wav)) as file:
        parts = [part for frame in file.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([part.to_ndarray()[0] for part in (*parts, *resampler.resample(None))])


def write_sound(path: Path, samples: NDArray[np.float32], *, rate: int = RATE, **options: Any) -> Path:
    """(N,) or (channels, N), as the suffix says."""
    channels = np.atleast_2d(samples)
    layout = {1: "mono", 2: "stereo"}[len(channels)]
    with av.open(str(path), "w", **options) as file:
        stream: Any = file.add_stream(CODECS.get(path.suffix.lower(), "pcm_s16le"), rate=rate, layout=layout)
        if path.suffix in (".mp3", ".m4a", ".aac", ".ogg", ".opus"):
            stream.bit_rate = 128_000
        resampler = av.AudioResampler(
            format=stream.format.name,
            layout=layout,
            rate=stream.rate,
            frame_size=stream.codec_context.frame_size or None,
        )
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(channels), format="fltp", layout=layout)
        frame.sample_rate = rate
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return path
