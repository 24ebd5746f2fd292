"""Batches of items that cost about the same, from cheap estimates of their length in tokens."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from llave.encode.item import Modality

__all__ = ["Estimate", "plan_batches"]

VIDEOS_PER_BATCH = 16
"""At most: a loaded video of 8 frames can hold 15 MB, and two batches are loaded at a time."""
PIXELS_PER_BATCH = 200_000_000
"""Of pictures before the model's processor shrinks them, at 3 bytes: 16 photos of a telephone are 0.6 GB, and two
batches are loaded at a time."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """An item before it is loaded.

    Args:
        modality: a batch holds one.
        media: tokens of the picture, video or sound.
        text: tokens of the text.
        content: equal for equal pictures, so that those come together.
        pixels: of the picture, decoded; 0 if untold.
    """

    modality: Modality
    media: int
    text: int
    content: bytes
    pixels: int = 0

    @property
    def tokens(self) -> int:
        """Of the whole item, at least one."""
        return max(self.media + self.text, 1)


def plan_batches(estimates: Sequence[Estimate], *, max_items: int, max_tokens: int) -> Iterator[list[int]]:
    """Indices of the estimates, batch by batch: one modality each, the longest first.

    The longest first, so that what does not fit fails at once. Equal pictures stand together, since a batch sees each
    only once, and among such groups those whose texts are of like length, since that leaves less padding.

    Args:
        max_items: items of a batch.
        max_tokens: tokens of a batch, padding included; an item that is longer is a batch of its own.
    """
    for modality in ("video", "audio", "image", "text"):
        chosen = [index for index, estimate in enumerate(estimates) if estimate.modality == modality]
        longest_text: dict[bytes, int] = {}
        for index in chosen:
            content, text = estimates[index].content, estimates[index].text
            longest_text[content] = max(text, longest_text.get(content, 0))
        chosen.sort(key=lambda index: _order(estimates[index], longest_text))
        most = min(max_items, VIDEOS_PER_BATCH) if modality == "video" else max_items
        batch: list[int] = []
        longest = pixels = 0
        for index in chosen:
            estimate = estimates[index]
            longest, pixels = max(longest, estimate.tokens), pixels + estimate.pixels
            full = len(batch) == most or longest * (len(batch) + 1) > max_tokens or pixels > PIXELS_PER_BATCH
            if batch and full:
                yield batch
                batch, longest, pixels = [], estimate.tokens, estimate.pixels
            batch.append(index)
        if batch:
            yield batch


def _order(estimate: Estimate, longest_text: Mapping[bytes, int]) -> tuple[int, int, bytes, int]:
    return -estimate.media, -longest_text[estimate.content], estimate.content, -estimate.text
