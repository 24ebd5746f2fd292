"""From a text, a picture, frames and a sound to what ``SentenceTransformer.encode`` takes."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from llave.data.mmeb import strip_placeholder
from llave.data.sound import Sound
from llave.errors import DataError, UserError
from llave.models.sounds import sound_input

if TYPE_CHECKING:
    from sentence_transformers.base import BaseModel

__all__ = [
    "ModelInput",
    "kinds_of",
    "model_input",
    "num_frames_of",
    "require_audio",
    "require_video",
    "stack_frames",
    "stacked",
    "timed_frames",
]

TICKS = 1000.0
"""A second's, where times of frames are told."""
FASTEST_RATE = 240
"""Frames a second; nearer ones are told as if they were as far apart."""
ModelInput = str | Image.Image | dict[str, Any]
_MEDIA_NAME = re.compile(r"(?s)https?://|data:|.*\.[A-Za-z0-9]{2,4}$")
"""Bare texts that sentence-transformers would fetch or open as a picture or film; in a dict they are texts."""


def model_input(
    text: str,
    image: Image.Image | None,
    *,
    video: Sequence[Image.Image] | None = None,
    audio: Sound | None = None,
    prompt: str = "",
    verbatim: bool = False,
) -> ModelInput:
    """Combine a prompt, an MMEB text and a decoded picture, the frames of a video, or a sound.

    Args:
        verbatim: the text is taken as it is, without the prompt.

    Raises:
        DataError: nothing of all that, or two of picture, video and sound.
    """
    if not verbatim:
        text = (prompt + strip_placeholder(text)).strip()
    if sum(media is not None for media in (image, video or None, audio)) > 1:
        raise DataError("an item has more than one of a picture, a video and a sound")
    if audio is not None:
        heard = sound_input(audio)
        return {"audio": heard, "text": text} if text else {"audio": heard}
    if video:
        frames = timed_frames(video)
        return {"video": frames, "text": text} if text else {"video": frames}
    if image is None:
        if not text:
            raise DataError("an item has neither a text nor a picture")
        return {"text": text} if _MEDIA_NAME.match(text) else text
    # The picture first: templates that keep the order of the parts (Qwen-VL, SmolVLM) were trained that way.
    return {"image": image, "text": text} if text else image


def stack_frames(frames: Sequence[Image.Image]) -> NDArray[np.uint8]:
    """RGB frames as (F, H, W, 3), F at least 2; those of another size are brought to the first one's.

    A single frame is shown twice: Qwen's models see frames in pairs, and Qwen3-VL's processor refuses half of one.
    """
    frames = [*frames, frames[0]] if len(frames) == 1 else frames
    size = frames[0].size
    return np.stack([np.asarray(frame if frame.size == size else frame.resize(size)) for frame in frames])


def timed_frames(frames: Sequence[Image.Image]) -> NDArray[np.uint8] | dict[str, Any]:
    """Stacked frames, in sentence-transformers' form with their times where those are known (:class:`Frames`).

    The times are told as places in a film of 1,000 frames a second, so that they are exact whatever its own rate is.
    """
    stack = stack_frames(frames)
    seconds = getattr(frames, "seconds", None)
    if not seconds:
        return stack
    places = [round(second * TICKS) for second in seconds]
    places += places[-1:] * (len(stack) - len(places))
    spacing = max((places[-1] - places[0]) / (len(places) - 1), TICKS / FASTEST_RATE)
    total = round(spacing * len(places))
    told = {"fps": TICKS, "frames_indices": places, "total_num_frames": total, "duration": total / TICKS}
    return {"array": stack, "video_metadata": told}


def stacked(video: Any) -> Any:
    """The frames (F, H, W, 3) of a model input's video, with or without its times."""
    return video["array"] if isinstance(video, dict) else video


def kinds_of(model: "BaseModel") -> list[str]:
    """What a model takes by itself, of text, image, video and audio; a dual encoder takes videos as pictures."""
    return [kind for kind in ("text", "image", "video", "audio") if model.supports(kind)]


def num_frames_of(entry: ModelInput) -> int:
    """Frames of a model input, 0 without a video. LLaVA-OneVision takes only videos of equal length in a batch, and
    SmolVLM embeds a shorter one differently beside a longer one: batch by it."""
    video = entry.get("video") if isinstance(entry, dict) else None
    return 0 if video is None else len(stacked(video))


def require_video(model: "BaseModel") -> None:
    """Refuse a model that takes no video, before anything is decoded: nothing stands in for what it cannot see.

    Raises:
        UserError: the model takes no video.
    """
    _require(model, "video", "video")


def require_audio(model: "BaseModel") -> None:
    """The same of sounds."""
    _require(model, "audio", "sound")


def _require(model: "BaseModel", kind: Literal["video", "audio"], word: str) -> None:
    if not model.supports(kind):
        takes = sorted(kinds_of(model))
        raise UserError(
            f"this model takes no {word}, only {', '.join(takes)}; choose one that does, or other data sets"
        )
