"""Tokens of texts, pictures, videos and sounds, counted without the model: for batches, queues and bills."""

import copy
import functools
import math
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llave.encode.item import Modality
from llave.errors import DataError
from llave.models.sounds import hearing_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Tokens"]

CHARACTERS_PER_TOKEN = 4
CHARACTERS = (8, 32)
"""Of a token, mostly, and nearly always."""
SPARE = 32
"""Tokens beyond what a model reads: where a text is cut, the last ones may be others."""
FRAME_SHARE = 4
"""A frame of a video is pooled to about a quarter of a picture's tokens."""
MS_PER_TOKEN = 40
"""Of sound."""
UNKNOWN_SIZE = (1684, 1190)
"""Height and width of what is not opened to be measured: a page in A4 at 144 dpi."""
_copies: "weakref.WeakKeyDictionary[SentenceTransformer, tuple[Any, Any]]" = weakref.WeakKeyDictionary()
"""By model: its tokenizer and our copy, which takes as long as ten queries."""


class Tokens:
    """Counts with a copy of the model's tokenizer: the model's own is changed by every call that pads or truncates.

    Counts of pictures, videos and sounds are estimates: they decide the order, not the result.

    Args:
        num_frames: of a video.
    """

    def __init__(self, model: "SentenceTransformer", num_frames: int) -> None:
        self._processor: Any = getattr(model, "processor", None) or model.tokenizer
        self._tokenizer = _copy_of(getattr(self._processor, "tokenizer", self._processor), model)
        self._backend: Any = getattr(self._tokenizer, "backend_tokenizer", None)
        self._num_frames = num_frames
        self._hearing = hearing_of(model)
        self._picture = functools.lru_cache(maxsize=4096)(self._count_picture)
        self.size = len(self._tokenizer)
        longest = model.max_seq_length
        self.longest: int | None = longest if isinstance(longest, int) and longest < 10_000_000 else None
        self.special = len(model.preprocess(["0"])["input_ids"][0]) - self.texts(["0"])[0]
        """What the model puts around a text."""

    def __getstate__(self) -> dict[str, Any]:
        """Without its memory of pictures, for another process."""
        return {name: value for name, value in vars(self).items() if name != "_picture"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._picture = functools.lru_cache(maxsize=4096)(self._count_picture)

    def texts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without those that the model adds."""
        if self._backend is None:
            return [len(text) // CHARACTERS_PER_TOKEN + 1 for text in texts]
        return [len(encoded.ids) for encoded in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def one_by_one(self, texts: Sequence[str]) -> list[int]:
        """The same without letting go of Python's lock, for an event loop that would wait to get it back."""
        if self._backend is None:
            return self.texts(texts)
        return [len(self._backend.encode(text, add_special_tokens=False).ids) if text else 0 for text in texts]

    def beginning(self, text: str) -> str:
        """As much of a long text as the model reads, with some tokens more: the same to it, and quick to take apart."""
        if self.longest is None or self._backend is None:
            return text
        for size in (self.longest * each for each in CHARACTERS):
            if len(text) > 2 * size and self.texts([text[:size]])[0] > self.longest + SPARE:
                return text[:size]
        return text

    def media(self, modality: Modality, size: tuple[int, int] | None, seconds: float | None = None) -> int:
        """Tokens of a picture of (height, width), of a video of such frames, or of a sound of so many seconds."""
        if modality == "text":
            return 0
        if modality == "audio":
            heard = self._hearing.seconds if seconds is None else min(seconds, self._hearing.seconds)
            each = getattr(self._processor, "audio_ms_per_token", None) or MS_PER_TOKEN
            return max(1, math.ceil(1000 * heard / each))
        tokens = self._picture(size or UNKNOWN_SIZE)
        return tokens if modality == "image" else max(1, self._num_frames * tokens // FRAME_SHARE)

    def split(self, text: str, most: int) -> list[str]:
        """The text in pieces of at most so many tokens, cut between words where there are any."""
        if self._backend is None:
            size = most * CHARACTERS_PER_TOKEN
            return [text[start : start + size] for start in range(0, len(text), size)] or [text]
        spans = self._backend.encode(text, add_special_tokens=False).offsets
        if len(spans) <= most:
            return [text]
        pieces, first = [], 0
        while first < len(spans):
            end = min(first + most, len(spans))
            if end < len(spans):
                earliest = first + most - most // 5
                words = (n for n in range(end, earliest, -1) if text[spans[n - 1][1] : spans[n][0] + 1][:1].isspace())
                end = next(words, end)
            stop = spans[end][0] if end < len(spans) else len(text)
            pieces.append(text[spans[first][0] : stop].strip())
            first = end
        return [piece for piece in pieces if piece]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids.

        Raises:
            DataError: an id that the model does not have, or no text in them.
        """
        unknown = next((number for number in ids if not 0 <= number < self.size), None)
        if unknown is not None:
            raise DataError(f"token {unknown} is not one of this model's {self.size:,}")
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=True)
        if not text.strip():
            raise DataError("these tokens are no text")
        return text

    def _count_picture(self, size: tuple[int, int]) -> int:
        counter = getattr(self._processor, "_get_num_multimodal_tokens", None)
        if counter is None:
            return int(getattr(self._processor, "image_seq_length", 1))
        try:
            return int(counter(image_sizes=[size]).num_image_tokens[0])
        except Exception:  # a size that the processor will refuse when it gets the picture, with a reason
            return 1


def _copy_of(tokenizer: Any, model: "SentenceTransformer") -> Any:
    original, own = _copies.get(model, (None, None))
    if original is not tokenizer:
        own = copy.deepcopy(tokenizer)
        backend = getattr(own, "backend_tokenizer", None)
        if backend is not None:
            backend.no_truncation()
            backend.no_padding()
        _copies[model] = tokenizer, own
    return own
