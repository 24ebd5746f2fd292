"""MMEB training rows as model inputs: loading with skipped rows counted, ids, and collation."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from llave.data.images import load_image
from llave.data.mmeb import TRAIN_COLUMNS, Item, MMEBFolder, TrainRow, parse_train, read_rows, strip_placeholder
from llave.errors import DataError
from llave.models.prompts import ModelInput, model_input

__all__ = ["Collator", "Skipped", "Use", "item_id", "load_training_rows"]

DECODED_PICTURES = 4096
"""Decoded pictures kept in memory by the collator (at 224 x 224 about 600 MB)."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that training leaves out, and why."""

    file: str
    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class Use:
    """How training uses a data set: the texts before its queries and targets, and whether its negatives count."""

    query_prompt: str = ""
    target_prompt: str = ""
    hard_negatives: bool = False


def load_training_rows(
    folder: MMEBFolder, name: str, *, cap: int | None = None, seed: int = 0, verify_pictures: bool = True
) -> tuple[list[TrainRow], list[Skipped]]:
    """Rows of a data set whose pictures all open, and the rows left out.

    A missing column is an error of the file, not of a row.

    Args:
        cap: at most this many rows, drawn by ``seed``; the others are not looked at.
        verify_pictures: decode every picture once, so that a truncated one costs its rows and not the run.

    Raises:
        DataError: an unreadable file, a missing column, or no usable row.
    """
    path = folder.path("train", name)
    raw_rows = list(enumerate(read_rows(path, TRAIN_COLUMNS)))
    if cap is not None and cap < len(raw_rows):
        chosen = torch.randperm(len(raw_rows), generator=torch.Generator().manual_seed(seed))[:cap]
        raw_rows = [raw_rows[i] for i in sorted(chosen.tolist())]
    rows: list[TrainRow] = []
    skipped: list[Skipped] = []
    for number, (where, raw) in raw_rows:
        try:
            row = parse_train(raw, where)
            for item in (row.query, row.positive, row.negative):
                if verify_pictures and item is not None and item.image:
                    _check_picture(folder.root / "images" / item.image)
        except DataError as error:
            skipped.append(Skipped(str(path), number, str(error)))
        else:
            rows.append(row)
    if not rows:
        raise DataError(f"{path}: no usable row; the first problem: {skipped[0].reason if skipped else 'it is empty'}")
    return rows, skipped


def item_id(item: Item) -> int:
    """A 63-bit id of the content: items with the same text and picture are the same target."""
    content = json.dumps([strip_placeholder(item.text), item.image]).encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big") >> 1


@lru_cache(maxsize=65536)
def _check_picture(path: Path) -> None:
    load_image(path)


class Collator:
    """Rows ``{"dataset": name, "row": index}`` to preprocessed columns and their ids.

    Args:
        preprocess: ``SentenceTransformer.preprocess``.
        folder: where the pictures are.
        rows: training rows by data set.
        uses: by data set. Hard negatives become a third column where every row of the batch has one.
    """

    valid_label_columns: Sequence[str] = ("label",)  # read by sentence-transformers' trainer

    def __init__(
        self,
        preprocess: Callable[[list[ModelInput]], dict[str, Any]],
        folder: MMEBFolder,
        rows: Mapping[str, list[TrainRow]],
        *,
        uses: Mapping[str, Use] | None = None,
    ) -> None:
        self.preprocess = preprocess
        self.folder = folder
        self.rows = rows
        self.uses = uses or {}
        self._picture = lru_cache(maxsize=DECODED_PICTURES)(load_image)

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        rows = [self.rows[feature["dataset"]][feature["row"]] for feature in features]
        uses = [self.uses.get(feature["dataset"], Use()) for feature in features]
        columns = {
            "query": [(row.query, use.query_prompt) for row, use in zip(rows, uses, strict=True)],
            "positive": [(row.positive, use.target_prompt) for row, use in zip(rows, uses, strict=True)],
        }
        negatives = [
            (row.negative, use.target_prompt)
            for row, use in zip(rows, uses, strict=True)
            if use.hard_negatives and row.negative is not None
        ]
        if len(negatives) == len(rows):
            columns["negative"] = negatives
        batch: dict[str, Any] = {
            "label": torch.tensor([[item_id(item) for item, _ in row] for row in zip(*columns.values(), strict=True)])
        }
        for column, items in columns.items():
            for key, value in self.preprocess([self._input(item, prompt) for item, prompt in items]).items():
                batch[f"{column}_{key}"] = value
        return batch

    def _input(self, item: Item, prompt: str) -> ModelInput:
        path = self.folder.image(item)
        picture: Image.Image | None = None if path is None else self._picture(path)
        return model_input(item.text, picture, prompt=prompt)
