"""Rows of the sample in MMEB's columns."""

import random
from collections.abc import Iterable, Sequence
from typing import Any

from llave.data.mmeb import IMAGE_PLACEHOLDER, RowItem

__all__ = ["eval_row", "pick", "picture", "train_row", "with_picture"]

Row = dict[str, Any]


def picture(path: str) -> RowItem:
    """A picture alone."""
    return RowItem(IMAGE_PLACEHOLDER, path)


def with_picture(path: str, text: str) -> RowItem:
    """A picture and a text about it."""
    return RowItem(f"{IMAGE_PLACEHOLDER}\n{text}", path)


def train_row(query: RowItem, positive: RowItem, negative: RowItem | None) -> Row:
    """A training row; without a hard negative its columns are empty."""
    return {
        "qry": query.text,
        "qry_image_path": query.image,
        "pos_text": positive.text,
        "pos_image_path": positive.image,
        "neg_text": negative.text if negative else "",
        "neg_image_path": negative.image if negative else "",
    }


def eval_row(query: RowItem, positive: RowItem, distractors: Iterable[RowItem]) -> Row:
    """An evaluation row; distractors equal to the positive or to one another count once."""
    candidates = list(dict.fromkeys([positive, *distractors]))
    return {
        "qry_text": query.text,
        "qry_img_path": query.image,
        "tgt_text": [item.text for item in candidates],
        "tgt_img_path": [item.image for item in candidates],
    }


def pick(items: Sequence[Any], count: int, rng: random.Random) -> list[Any]:
    """``count`` of the items, or all of them in their order where there are no more."""
    return list(items) if len(items) <= count else rng.sample(list(items), count)
