"""Cut a text that is longer than the model reads, inside its template.

A tokenizer cuts what a template made of the item at its end, and that end is the token whose state is the vector: one
token too many turned the vector, and a picture's tokens could be cut as well. Here a batch is tokenized whole; in a row
that is too long the last tokens of the user's text go, and the template's end and all media stay.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["common_end", "cut_rows", "shortened"]

CHARACTERS_PER_TOKEN = 4
"""A text of more characters for each token that the model reads is shortened before it is put into its template."""
MARGIN = 16
"""Tokens more than the model reads that are left of such a text; those at the new end are not the old ones."""


def shortened(text: str, tokenizer: Any, limit: int) -> tuple[str, int]:
    """A very long text, cut to a little more than ``limit`` tokens, and how many tokens went; others as they are.

    So that a book among captions does not make every row of its batch as long as a book.
    """
    if len(text) <= CHARACTERS_PER_TOKEN * (limit + MARGIN) or not tokenizer.is_fast:
        return text, 0
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    offsets = encoded["offset_mapping"]
    if len(offsets) <= limit + MARGIN:
        return text, 0
    return text[: offsets[limit + MARGIN - 1][1]], len(offsets) - limit - MARGIN


def common_end(one: Tensor, other: Tensor) -> int:
    """How many tokens at the end of two sequences (T,) are the same."""
    shorter = min(len(one), len(other))
    different = (one.flip(0)[:shorter] != other.flip(0)[:shorter]).nonzero()
    return int(different[0]) if len(different) else shorter


def cut_rows(features: dict[str, Any], cuts: Mapping[int, tuple[int, int]], fill: Mapping[str, int], side: str) -> None:
    """Take tokens out of rows of a preprocessed batch, in place, and pad it anew.

    Args:
        features: ``attention_mask`` (B, T), and whatever else has its shape.
        cuts: row -> how many tokens to take out, and how many at the end of the row stay behind them.
        fill: what padding is, by feature; 0 where it is not named.
        side: of the padding: "left" or "right".
    """
    keep_BT = features["attention_mask"].bool()
    for row, (number, behind) in cuts.items():
        place = keep_BT[row].nonzero().flatten()
        keep_BT[row, place[len(place) - behind - number : len(place) - behind]] = False
    lengths: Sequence[int] = keep_BT.sum(1).tolist()
    width = max(lengths)
    for name, value in features.items():
        if not isinstance(value, Tensor) or value.shape != keep_BT.shape:
            continue
        cut_BT = torch.full((len(lengths), width), fill.get(name, 0), dtype=value.dtype)
        for row, length in enumerate(lengths):
            start = width - length if side == "left" else 0
            cut_BT[row, start : start + length] = value[row, keep_BT[row]]
        features[name] = cut_BT
