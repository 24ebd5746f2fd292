"""How items reach a model, where a published score was measured in another way than the model's own."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llave.data.frames import NUM_FRAMES
from llave.data.row_text import Form
from llave.data.video import VideoLimits
from llave.encode.item import Reading
from llave.errors import UserError
from llave.models.raw import require_raw

if TYPE_CHECKING:
    from sentence_transformers.base import BaseModel

__all__ = ["Protocol"]

LARGEST_FRAME = 1280 * 28 * 28
"""Pixels; no video processor of the families that we know keeps more of one frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """Settings of an evaluation; None is the model's own.

    Args:
        form: of the texts, see :data:`llave.data.row_text.Form`.
        query_prompt, target_prompt: before every query and every candidate that has no instruction of its own.
        max_length: tokens that the model reads.
        min_pixels, max_pixels: of a picture, for processors that resize by its number of pixels (Qwen-VL's).
        video_min_pixels, video_max_pixels: of a video, as such a model's video processor counts them: of one frame
            (Qwen2-VL), or of all frames together (Qwen3-VL).
        num_frames: of a video, at most.
        fps: frames of a second of a film; None spaces ``num_frames`` evenly.
        folder_rate: frames a second that folders of frames hold; None: nobody knows.
    """

    form: Form = "text"
    query_prompt: str | None = None
    target_prompt: str | None = None
    max_length: int | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    video_min_pixels: int | None = None
    video_max_pixels: int | None = None
    num_frames: int = NUM_FRAMES
    fps: float | None = None
    folder_rate: float | None = None

    @property
    def reading(self) -> Reading:
        """How files are read for it."""
        limits = VideoLimits()
        if self.video_max_pixels is not None:  # a frame that is scaled down before would be another input
            limits = VideoLimits(kept_pixels=max(limits.kept_pixels, min(self.video_max_pixels, LARGEST_FRAME)))
        return Reading(num_frames=self.num_frames, fps=self.fps, folder_rate=self.folder_rate, videos=limits)

    def cache_name(self, fingerprint: str) -> str:
        """Where vectors of a model are kept: apart, if it does not get its inputs in its own way.

        Prompts and frames are in the keys of the items, the length and the size of pictures in the fingerprint.
        """
        apart = (self.form == "raw", self.video_min_pixels, self.video_max_pixels)
        return hashlib.sha256(f"{fingerprint} {apart}".encode()).hexdigest() if any(apart) else fingerprint

    @contextmanager
    def applied(self, model: "BaseModel") -> Iterator[None]:
        """The model with these settings, and as it was afterwards.

        Raises:
            UserError: its processor has no such setting.
        """
        if self.form == "raw":
            require_raw(model)
        if self.max_length is not None and self.max_length < 1:
            raise UserError(f"--max_length {self.max_length}: at least 1 token")
        before: list[tuple[Any, str, Any]] = []

        def put(owner: Any, name: str, value: Any) -> None:
            before.append((owner, name, getattr(owner, name)))
            setattr(owner, name, value)

        try:
            if self.max_length is not None:
                put(model, "max_seq_length", self.max_length)
            for part, options in (
                ("image_processor", {"shortest_edge": self.min_pixels, "longest_edge": self.max_pixels}),
                ("video_processor", {"shortest_edge": self.video_min_pixels, "longest_edge": self.video_max_pixels}),
            ):
                wanted = {edge: pixels for edge, pixels in options.items() if pixels is not None}
                if wanted:
                    resizer = _by_pixels(model, part)
                    put(resizer, "size", type(resizer.size)(**{**dict(resizer.size), **wanted}))
            yield
        finally:
            for owner, name, value in reversed(before):
                setattr(owner, name, value)


def _by_pixels(model: "BaseModel", part: str) -> Any:
    """The model's processor of pictures or videos, if ``size`` means numbers of pixels there."""
    processor: Any = getattr(model[0], "processor", None)
    resizer: Any = getattr(processor, part, None)
    if not {"shortest_edge", "longest_edge"} <= set(dict(getattr(resizer, "size", None) or {})):
        option = "--video_min_pixels and --video_max_pixels" if "video" in part else "--min_pixels and --max_pixels"
        raise UserError(f"{option}: the processor of this model ({type(processor).__name__}) has no such limits")
    return resizer
