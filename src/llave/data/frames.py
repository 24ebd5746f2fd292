"""Which frames of a video are taken.

``num_frames`` of the N there are: ``floor(i * (N - 1) / (num_frames - 1))``, the first and the last among them; all of
them, in order and not repeated, where there are fewer. That is how VLM2Vec samples MMEB-V2's folders of frames (its
``process_video_frames``); those folders hold up to 64 frames of a film.

With ``fps``, so many a second: every ``round(rate / fps)``-th frame from the first on, and evenly spaced as above where
that would be more than ``num_frames``. That is how LLaVE reads films (``process_video_with_decord`` of its
``llava/utils.py``). A folder of frames and an animation have no rate, and are sampled evenly.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from PIL import Image

__all__ = ["NUM_FRAMES", "Choose", "Frames", "frames_key", "sample_indices"]

NUM_FRAMES = 8
"""Frames of a video that a model sees, as in MMEB-V2."""
Choose = Callable[[int, float | None], list[int]]
"""Of so many frames, so many a second (None: not known), those to take."""


class Frames(list[Image.Image]):
    """Frames of a video, in order, and the second at which each was taken; None where nobody knows."""

    def __init__(self, frames: Iterable[Image.Image], seconds: Sequence[float] | None = None) -> None:
        super().__init__(frames)
        self.seconds = None if seconds is None else [float(second) for second in seconds]


def sample_indices(count: int, rate: float | None = None, *, num_frames: int, fps: float | None = None) -> list[int]:
    """Which of ``count`` frames are taken.

    Args:
        rate: frames a second of the film, on average; None where it is not known.
        num_frames: at most.
        fps: frames to take of a second; None spaces ``num_frames`` evenly.
    """
    if fps is not None and rate is not None:
        taken = range(0, count, max(round(rate / fps), 1))
        if len(taken) <= num_frames:
            return list(taken)
    if num_frames >= count:
        return list(range(count))
    return [int(index) for index in np.linspace(0, count - 1, num_frames).astype(int)]


def frames_key(num_frames: int, fps: float | None, folder_rate: float | None = None) -> bytes:
    """What a choice adds to a video's identity: with other frames, or other times of them, it is another input."""
    said = {"@": fps, "~": folder_rate}
    return f"|timed frames={num_frames}".encode() + "".join(f"{mark}{x:g}" for mark, x in said.items() if x).encode()
