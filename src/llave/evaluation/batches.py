"""Batches of items that cost about the same, from cheap estimates of their length in tokens."""

import copy
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Estimate", "TokenCounter", "plan_batches"]

CHARACTERS_PER_TOKEN = 4
FRAME_SHARE = 4
"""A frame of a video is pooled to about a quarter of a picture's tokens."""
VIDEOS_PER_BATCH = 16
"""At most: a loaded video of 8 frames can hold 15 MB, and two batches are loaded at a time."""
UNKNOWN_SIZE = (1684, 1190)
"""Height and width of what is not opened to be measured: a page in A4 at 144 dpi."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """An item before it is loaded.

    Args:
        kind: ``"text"``, ``"picture"`` or ``"video"``; a batch holds one kind.
        media: tokens of the picture or video.
        text: tokens of the text.
        content: equal for equal pictures, so that those come together.
    """

    kind: str
    media: int
    text: int
    content: bytes

    @property
    def tokens(self) -> int:
        """Of the whole item, at least one."""
        return max(self.media + self.text, 1)


class TokenCounter:
    """Tokens of texts, pictures and videos, without loading them. Estimates: they decide the order, not the result."""

    def __init__(self, model: "SentenceTransformer", num_frames: int) -> None:
        self.num_frames = num_frames
        self._processor: Any = getattr(model, "processor", None) or model.tokenizer
        self._tokenizer: Any = getattr(self._processor, "tokenizer", self._processor)
        self._picture = functools.lru_cache(maxsize=4096)(self._count_picture)

    def texts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        if not texts:
            return []
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:
            return [len(text) // CHARACTERS_PER_TOKEN for text in texts]
        counting = copy.deepcopy(backend)  # a call would change how the model's own truncates and pads
        counting.no_truncation()
        counting.no_padding()
        return [len(encoded.ids) for encoded in counting.encode_batch_fast(list(texts), add_special_tokens=False)]

    def media(self, kind: str, size: tuple[int, int] | None) -> int:
        """Tokens of a picture of (height, width), or of a video of such frames."""
        if kind == "text":
            return 0
        tokens = self._picture(size or UNKNOWN_SIZE)
        return tokens if kind == "picture" else max(1, self.num_frames * tokens // FRAME_SHARE)

    def _count_picture(self, size: tuple[int, int]) -> int:
        counter = getattr(self._processor, "_get_num_multimodal_tokens", None)
        if counter is None:
            return int(getattr(self._processor, "image_seq_length", 1))
        try:
            return int(counter(image_sizes=[size]).num_image_tokens[0])
        except (AttributeError, KeyError, TypeError, ValueError):  # a size that loading will refuse with a reason
            return 1


def plan_batches(estimates: Sequence[Estimate], *, max_items: int, max_tokens: int) -> Iterator[list[int]]:
    """Indices of the estimates, batch by batch: one kind each, the longest first.

    The longest first, so that what does not fit fails at once. Equal pictures stand together, since a batch sees each
    only once, and among such groups those whose texts are of like length, since that leaves less padding.

    Args:
        max_items: items of a batch.
        max_tokens: tokens of a batch, padding included; an item that is longer is a batch of its own.
    """
    for kind in ("video", "picture", "text"):
        chosen = [index for index, estimate in enumerate(estimates) if estimate.kind == kind]
        longest_text: dict[bytes, int] = {}
        for index in chosen:
            content, text = estimates[index].content, estimates[index].text
            longest_text[content] = max(text, longest_text.get(content, 0))
        chosen.sort(key=lambda index: _order(estimates[index], longest_text))
        most = min(max_items, VIDEOS_PER_BATCH) if kind == "video" else max_items
        batch: list[int] = []
        longest = 0
        for index in chosen:
            longest = max(longest, estimates[index].tokens)
            if batch and (len(batch) == most or longest * (len(batch) + 1) > max_tokens):
                yield batch
                batch, longest = [], estimates[index].tokens
            batch.append(index)
        if batch:
            yield batch


def _order(estimate: Estimate, longest_text: Mapping[bytes, int]) -> tuple[int, int, bytes, int]:
    return -estimate.media, -longest_text[estimate.content], estimate.content, -estimate.text
