"""Dual encoders (CLIP, SigLIP) with what sentence-transformers alone refuses: texts and pictures in one batch, both in
one item, several pictures, and videos.

An item of a text and pictures gets the mean of two unit vectors, the text's and the pictures', as UniIR's score fusion
(arXiv 2311.17136): its cosine with a target is, but for a factor, the sum of theirs. Several pictures, and the frames
of a video, count as the mean of their unit vectors. An item of one kind alone gets that tower's vector as it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from llave.errors import DataError
from llave.models.prompts import stacked

__all__ = ["MIXED", "Rows", "fuse", "slice_mixed"]

MIXED = "text and pictures"
"""The ``modality`` of features that hold both."""
HAS_TEXT = "has_text"
COUNTS = "num_images_per_sample"
OF_ROWS = (HAS_TEXT, COUNTS, "input_ids", "attention_mask", "token_type_ids", "position_ids")
"""Features with one row per item; the others have one per picture."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The items of a batch, taken apart.

    Args:
        texts: by row; None of an item without a text.
        pictures: by row, any number each.
    """

    texts: list[str | None]
    pictures: list[list[Any]]

    @classmethod
    def of(cls, fitted: Sequence[Any], prompts: Sequence[str | None], *, fused: bool) -> "Rows | None":
        """Of fitted inputs; None where there is a pair, a chat, or something else than texts and pictures.

        Args:
            prompts: before each text.
            fused: whether an item may have a text and pictures.

        Raises:
            DataError: an item that has both and may not, or that has nothing.
        """
        texts: list[str | None] = []
        pictures: list[list[Any]] = []
        for entry, prompt in zip(fitted, prompts, strict=True):
            parts = _parts(entry)
            if parts is None:
                return None
            text, seen = parts
            if text is not None and seen and not fused:
                raise DataError("a text and a picture in one item, and this model's vectors of both are not combined")
            texts.append(text if text is None else (prompt or "") + text)
            pictures.append(seen)
        return cls(texts, pictures)

    @property
    def mixed(self) -> bool:
        """Whether some rows have what others have not, or more than one thing."""
        kinds = {(text is not None, len(pictures)) for text, pictures in zip(self.texts, self.pictures, strict=True)}
        return not (kinds <= {(True, 0)} or kinds <= {(False, 1)})

    def features(self, preprocess: Callable[[list[Any]], dict[str, Any]], fill: int) -> dict[str, Any]:
        """Preprocessed texts (rows without one are padding) and pictures, in one dictionary.

        Args:
            preprocess: of inputs that are all texts, or all pictures.
            fill: token of padding.
        """
        has_text = torch.tensor([text is not None for text in self.texts])
        counts = torch.tensor([len(pictures) for pictures in self.pictures])
        mixed: dict[str, Any] = {"modality": MIXED, HAS_TEXT: has_text, COUNTS: counts}
        if bool(has_text.any()):
            given = preprocess([text for text in self.texts if text is not None])
            for key, value in given.items():
                if isinstance(value, Tensor):
                    rows = value.new_full((len(has_text), *value.shape[1:]), fill if key == "input_ids" else 0)
                    rows[has_text] = value
                    mixed[key] = rows
        flat = [picture for pictures in self.pictures for picture in pictures]
        if flat:
            mixed |= {key: value for key, value in preprocess(flat).items() if isinstance(value, Tensor)}
        return mixed


def fuse(features: dict[str, Any], encode: Callable[[dict[str, Any]], Tensor]) -> Tensor:
    """Vectors (B, D) of mixed features.

    Args:
        features: of :meth:`Rows.features`.
        encode: features of texts alone, or of pictures alone, to their vectors.
    """
    has_text, counts = features[HAS_TEXT], features[COUNTS]
    tensors = {key: value for key, value in features.items() if isinstance(value, Tensor)}
    vector_BD: Tensor | None = None
    if bool(has_text.any()):
        of_texts = {key: value[has_text] for key, value in tensors.items() if key in OF_ROWS}
        text_RD = encode({**of_texts, "modality": "text"})
        vector_BD = text_RD.new_zeros(len(counts), text_RD.shape[1]).index_put((has_text.nonzero()[:, 0],), text_RD)
    if bool((counts > 0).any()):
        of_pictures = {key: value for key, value in tensors.items() if key not in OF_ROWS}
        picture_PD = encode({**of_pictures, "modality": "image"})
        owner_P = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        several = counts > 1
        unit_PD = torch.where(several[owner_P, None], nn.functional.normalize(picture_PD, dim=-1), picture_PD)
        seen_BD = picture_PD.new_zeros(len(counts), picture_PD.shape[1]).index_add(0, owner_P, unit_PD)
        seen_BD = torch.where(several[:, None], nn.functional.normalize(seen_BD, dim=-1), seen_BD)
        if vector_BD is None:
            return seen_BD
        both = (has_text & (counts > 0))[:, None]
        mean_BD = nn.functional.normalize(vector_BD, dim=-1) + nn.functional.normalize(seen_BD, dim=-1)
        return torch.where(both, nn.functional.normalize(mean_BD, dim=-1), vector_BD + seen_BD)
    assert vector_BD is not None, "a batch of nothing"
    return vector_BD


def slice_mixed(features: dict[str, Any], begin: int, end: int) -> dict[str, Any]:
    """Rows ``begin`` to ``end`` of mixed features."""
    counts = features[COUNTS]
    first, last = int(counts[:begin].sum()), int(counts[:end].sum())
    part = {
        key: value if not isinstance(value, Tensor) else value[begin:end] if key in OF_ROWS else value[first:last]
        for key, value in features.items()
    }
    return {key: value for key, value in part.items() if not (isinstance(value, Tensor) and value.numel() == 0)}


def _parts(entry: Any) -> tuple[str | None, list[Any]] | None:
    """Text and pictures of a fitted input; the frames of a video are pictures."""
    if isinstance(entry, str):
        return entry, []
    if isinstance(entry, Image.Image):
        return None, [entry]
    if not isinstance(entry, dict) or not entry or not entry.keys() <= {"text", "image", "video"}:
        return None
    pictures: list[Any] = []
    if "image" in entry:
        pictures += entry["image"] if isinstance(entry["image"], (list, tuple)) else [entry["image"]]
    if "video" in entry:
        frames = stacked(entry["video"])
        pictures += [frame if isinstance(frame, Image.Image) else Image.fromarray(frame) for frame in frames]
    text = entry.get("text")
    return (text if text or not pictures else None), pictures
