"""Inputs of PaliGemma, laid out here: its processor takes no text without a picture, and no batch that mixes the two.

The layout is the processor's own, ``<image>… <bos> TEXT \\n``, whose last token is the vector; a text that is too long
is cut in itself.
"""

from typing import Any

import torch
from torch import Tensor

from llave.errors import DataError
from llave.models.towers import Rows

__all__ = ["lay_out"]


def lay_out(rows: Rows, processor: Any, limit: int | None) -> tuple[dict[str, Any], dict[int, int]]:
    """Features of a batch, and the tokens that were cut, by row.

    Args:
        rows: texts and pictures of each item.
        processor: of the model.
        limit: tokens that an item may have; None for any number.

    Raises:
        DataError: an item whose pictures alone are over the limit.
    """
    tokenizer = processor.tokenizer
    end: list[int] = tokenizer("\n", add_special_tokens=False)["input_ids"]
    ids: list[list[int]] = []
    cuts: dict[int, int] = {}
    for row, (text, pictures) in enumerate(zip(rows.texts, rows.pictures, strict=True)):
        start = [processor.image_token_id] * (processor.image_seq_length * len(pictures)) + [tokenizer.bos_token_id]
        words: list[int] = tokenizer(text or "", add_special_tokens=False, verbose=False)["input_ids"]
        over = 0 if limit is None else len(start) + len(words) + len(end) - limit
        if over > 0 and over >= len(words):
            raise DataError(
                f"{len(start) + len(end)} tokens of pictures, frames and prompt, and the model reads {limit}: "
                "no room is left for a text; give fewer or smaller ones"
            )
        if over > 0:
            cuts[row] = over
            words = words[: len(words) - over]
        ids.append(start + words + end)
    padded: Any = tokenizer.pad({"input_ids": ids}, padding=True, return_tensors="pt")
    seen: Tensor = padded["input_ids"]
    features: dict[str, Any] = {
        "input_ids": seen,
        "attention_mask": padded["attention_mask"],
        "token_type_ids": torch.zeros_like(seen),  # all of it is read from both sides
        "modality": "text",
    }
    flat = [picture for pictures in rows.pictures for picture in pictures]
    if flat:
        features["pixel_values"] = processor.image_processor(images=flat, return_tensors="pt")["pixel_values"]
        features["num_images_per_sample"] = torch.tensor([len(pictures) for pictures in rows.pictures])
        features["modality"] = ("image", "text")
    return features, cuts
