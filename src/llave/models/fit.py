"""Bring an input of a model into the one form that every door shares: what makes a picture and a text fit.

A picture, however it is given (a Pillow image of any mode, a path, bytes, a ``data:`` address), becomes upright 8-bit
RGB by the rules of :mod:`llave.data.images`; a text becomes its normal form (:func:`llave.data.identity.normal_text`),
and a media token written out in it stays a text (:class:`MediaTokens`). A sound becomes mono at the model's rate.
"""

import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from PIL import Image
from sentence_transformers.base.modality import is_image_url_or_path, is_message_dict, is_video_url_or_path

from llave.data.identity import normal_text
from llave.data.sound import Hearing
from llave.data.suffixes import FILMS, SOUNDS
from llave.data.video import load_video
from llave.errors import DataError
from llave.models.pictures import each_part, fit_picture
from llave.models.prompts import timed_frames
from llave.models.sounds import fit_sound

__all__ = ["MediaTokens", "count_media", "fit_input"]

_MEDIA = re.compile(r"image|img|video|vision|audio|^<row_\d+_col_\d+>$|boi|eoi", re.IGNORECASE)
_PAIR = 2
LONGEST_SUFFIX = len(".tiff")


class MediaTokens:
    """The tokens that stand for pictures, films and sounds in a model's input, kept out of users' texts.

    A user's ``<image>`` is a text about HTML. It gets a space after its first character, which the tokenizer reads as
    ordinary characters: ``< image>``. Tokens of other meaning (``</s>``, ``[SEP]``) are left alone.

    Args:
        tokens: as they are written.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        longest_first = sorted(tokens, key=lambda token: (-len(token), token))
        self.pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    @classmethod
    def of(cls, processor: Any, config: Any, tokenizer: Any) -> "MediaTokens":
        """What a model's processor, configuration and tokenizer declare as such."""
        found = {
            value
            for name, value in vars(processor).items()
            if isinstance(value, str) and name.endswith(("_token", "_tag")) and _MEDIA.search(name)
        }
        if tokenizer is not None:
            ids = [
                value
                for name, value in vars(config).items()
                if isinstance(value, int) and name.endswith(("_token_id", "_token_index")) and _MEDIA.search(name)
            ]
            found |= {token for token in tokenizer.convert_ids_to_tokens(ids) if token}
            found |= {token for token in tokenizer.get_added_vocab() if _MEDIA.search(token)}
        return cls(found - {""})

    def as_text(self, text: str) -> str:
        """The text without any of the tokens."""
        if self.pattern is None:
            return text
        return self.pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


def fit_input(entry: Any, tokens: MediaTokens, takes: Collection[str], hearing: Hearing | None = None) -> Any:
    """One input of ``SentenceTransformer.encode`` in the one form.

    Args:
        entry: a text, a picture in any form, the path of a film or sound, a dictionary of text, image, video and audio,
            a pair of inputs, or messages. The text of a dictionary is put last: templates that keep the order of the
            parts were trained that way.
        tokens: of the model.
        takes: what the model takes: ``"image"``, ``"video"``; the name of a file of another kind is a text.
        hearing: what it hears of a sound; None of a model that takes none.

    Raises:
        DataError: a picture, film or sound that cannot be decoded.
    """
    if isinstance(entry, str):
        if "." in entry[-LONGEST_SUFFIX:] or entry.startswith("data:"):
            if "image" in takes and is_image_url_or_path(entry):
                return fit_picture(entry)
            if "video" in takes and _is_film(entry) and os.path.isfile(entry):
                return {"video": _video(entry)}
            if hearing is not None and _is_sound(entry) and os.path.isfile(entry):
                return {"audio": fit_sound(entry, hearing)}
        return tokens.as_text(normal_text(entry))
    if isinstance(entry, Path) and _is_film(str(entry)):
        return {"video": _video(entry)}
    if isinstance(entry, Path) and _is_sound(str(entry)):
        if hearing is None:
            raise DataError(f"{entry}: a sound, and this model takes none")
        return {"audio": fit_sound(entry, hearing)}
    if isinstance(entry, (Image.Image, Path, bytes)):
        return fit_picture(entry)
    if isinstance(entry, dict) and not is_message_dict(entry):
        fitted = {key: _part(key, value, tokens, hearing) for key, value in entry.items() if key != "text"}
        return {**fitted, "text": _part("text", entry["text"], tokens, hearing)} if "text" in entry else fitted
    if isinstance(entry, (tuple, list)) and len(entry) == _PAIR and not any(map(is_message_dict, entry)):
        return type(entry)(fit_input(part, tokens, takes, hearing) for part in entry)
    return each_part(entry, lambda key, value: _part(key, value, tokens, hearing))


def count_media(entry: Any, kind: str) -> int:
    """Videos ("video") or sounds ("audio") of a fitted input. A list of pictures is one video."""
    if isinstance(entry, (list, tuple)):
        return sum(count_media(one, kind) for one in entry)
    if not isinstance(entry, dict):
        return 0
    if "content" in entry:
        return sum(isinstance(part, dict) and kind in part for part in entry["content"])
    value = entry.get(kind)
    if value is None:
        return 0
    several = isinstance(value, (list, tuple)) and not all(isinstance(frame, Image.Image) for frame in value)
    return len(value) if several else 1


def _part(key: str, value: Any, tokens: MediaTokens, hearing: Hearing | None) -> Any:
    if key == "text":
        return tokens.as_text(normal_text(value)) if isinstance(value, str) else value
    if key == "image":
        return [fit_picture(one) for one in value] if isinstance(value, (list, tuple)) else fit_picture(value)
    if key == "audio" and hearing is not None:
        several = isinstance(value, (list, tuple)) and not all(isinstance(one, (int, float)) for one in value)
        return [fit_sound(one, hearing) for one in value] if several else fit_sound(value, hearing)
    return _video(value) if key == "video" else value


def _is_film(name: str) -> bool:
    return is_video_url_or_path(name) or os.path.splitext(name)[1].lower() in FILMS


def _is_sound(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SOUNDS


def _video(video: Any) -> Any:
    """The frames of a file (F, H, W, 3); pictures that are frames, each fitted; arrays as they are."""
    if isinstance(video, (str, Path)) and os.path.exists(video):
        return timed_frames(load_video(Path(video)))
    if isinstance(video, (list, tuple)) and video and all(isinstance(frame, Image.Image) for frame in video):
        return [fit_picture(frame) for frame in video]
    return video
