"""What reading a video may cost."""

import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from llave.errors import DataError

__all__ = ["Budget", "VideoLimits"]

FASTEST = 1_000_000_000
"""Pixels a second that no decoder passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoLimits:
    """What a video may cost.

    Args:
        num_bytes: of the file.
        num_frames: in the file or folder; also of those decoded to reach the ones that are kept.
        pixels: of one frame.
        seconds: to read and decode it.
        kept_pixels: a larger frame is scaled down to this many once it is decoded, so that hundreds of videos fit into
            memory. Qwen-VL's own preprocessing keeps no more (768 * 28 * 28), the other models see less.
    """

    num_bytes: int = 2 * 1024**3
    num_frames: int = 200_000
    pixels: int = 4096 * 2304
    seconds: float = 120.0
    kept_pixels: int = 768 * 28 * 28


class Budget:
    """Counts the work on one file and ends it at a limit."""

    def __init__(self, path: Path, limits: VideoLimits) -> None:
        self.path = path
        self.limits = limits
        self._deadline = time.monotonic() + limits.seconds
        self.num_decoded = 0

    def tick(self) -> None:
        if time.monotonic() > self._deadline:
            raise DataError(f"{self.path}: more than {self.limits.seconds:g} s of decoding, the limit; shorten it")

    def count(self, frames: int) -> None:
        if frames > self.limits.num_frames:
            raise DataError(f"{self.path}: more than {self.limits.num_frames:,} frames, the limit; shorten the video")

    def plan(self, frames: int, width: int, height: int) -> None:
        """Refuse before the work what no decoder does in time."""
        self.count(frames)
        self.measure(width, height)
        if frames * width * height > self.limits.seconds * FASTEST:
            raise DataError(
                f"{self.path}: more than {self.limits.seconds:g} s of decoding, the limit, for {frames:,} frames of "
                f"{width}x{height} pixels; shorten it"
            )

    def decoded(self, width: int, height: int) -> None:
        self.num_decoded += 1
        self.count(self.num_decoded)
        self.tick()
        self.measure(width, height)

    def measure(self, width: int, height: int) -> None:
        if width * height > self.limits.pixels:
            raise DataError(
                f"{self.path}: frames of {width}x{height} pixels, more than the limit of {self.limits.pixels:,}; "
                "scale the video down"
            )

    def kept(self, frame: Image.Image) -> Image.Image:
        """The frame, scaled down if it is large."""
        scale = (self.limits.kept_pixels / (frame.width * frame.height)) ** 0.5
        if scale >= 1:
            return frame
        size = (max(int(frame.width * scale), 1), max(int(frame.height * scale), 1))
        return frame.resize(size, Image.Resampling.BICUBIC)
