"""MMEB training rows as model inputs: pictures decoded, ids, and collation, in the main process or in workers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from llave.data.corpus import Corpus
from llave.data.mmeb import RowItem, TrainRow
from llave.data.picture_cache import PictureCache
from llave.data.row_ids import OWN_SPACE
from llave.errors import DataError
from llave.models.prompts import ModelInput, model_input
from llave.training.row_errors import RowErrors

__all__ = ["DECODED_BYTES", "Collator", "Use"]

DECODED_BYTES = 800_000_000
"""Decoded pictures that a rank keeps, in bytes (4,000 of 224 x 224)."""
SUBSTITUTES = 32
"""Rows tried in place of a broken one, before the data set is called broken."""


@dataclass(frozen=True, slots=True)
class Use:
    """How training uses a data set: the texts before its queries and targets, and whether its negatives count.

    ``mask_own_targets``: a target that is another row's very query is no negative of that query.
    """

    query_prompt: str = ""
    target_prompt: str = ""
    hard_negatives: bool = False
    mask_own_targets: bool = True


@dataclass(frozen=True, slots=True)
class _Pair:
    """A row that is ready: ids (columns,) and inputs by column."""

    ids: list[int]
    inputs: list[ModelInput]


class Collator:
    """Rows ``{"row": number in the corpus}`` to preprocessed columns and their ids.

    A row whose picture does not open is replaced by another of its data set, drawn by seed and row, so that every
    process and every number of workers sees the same batch of the same size; the broken row goes to ``errors``.

    Args:
        preprocess: ``SentenceTransformer.preprocess``.
        corpus: the rows.
        uses: by data set. Where one uses hard negatives, its batches have a third column; a row without a negative
            of its own takes another row's positive, so that all ranks have the same columns.
        mixed: batches mix data sets: all of them have the third column if any data set uses it.
        errors: where broken rows are noted; None lets them end the run.
        seed: of the replacements.
        decoded_bytes: decoded pictures that are kept.
    """

    valid_label_columns: Sequence[str] = ("label",)  # read by sentence-transformers' trainer

    def __init__(
        self,
        preprocess: Callable[[list[ModelInput]], dict[str, Any]],
        corpus: Corpus,
        *,
        uses: Mapping[str, Use] | None = None,
        mixed: bool = False,
        errors: RowErrors | None = None,
        seed: int = 0,
        decoded_bytes: int = DECODED_BYTES,
    ) -> None:
        self.preprocess = preprocess
        self.corpus = corpus
        self.uses = {name: (uses or {}).get(name, Use()) for name in corpus.tables}
        self.mixed = mixed
        self.errors = errors
        self.seed = seed
        self.pictures = PictureCache(decoded_bytes)

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        places = [self.corpus.locate(feature["row"]) for feature in features]
        uses = self.uses.values() if self.mixed else [self.uses[name] for name, _ in places]
        with_negatives = any(use.hard_negatives for use in uses)
        pairs = [self._pair(name, index, with_negatives) for name, index in places]
        batch: dict[str, Any] = {"label": torch.tensor([pair.ids for pair in pairs])}
        columns = ("query", "positive", "negative") if with_negatives else ("query", "positive")
        for number, column in enumerate(columns):
            for key, value in self.preprocess([pair.inputs[number] for pair in pairs]).items():
                batch[f"{column}_{key}"] = value
        return batch

    def _pair(self, name: str, index: int, with_negative: bool) -> _Pair:
        """The row, or its first substitute that opens."""
        table = self.corpus.tables[name]
        candidate, first = index, ""
        for attempt in range(SUBSTITUTES):
            try:
                return self._ready(name, candidate, with_negative)
            except DataError as error:
                if self.errors is None:
                    raise
                first = first or str(error)
                self.errors.report(*table.where(candidate), str(error))
                candidate = self.corpus.another(name, index, attempt, self.seed)
        raise DataError(f"{name}: {SUBSTITUTES} rows in a row do not open; the first: {first}")

    def _ready(self, name: str, index: int, with_negative: bool) -> _Pair:
        table, use = self.corpus.tables[name], self.uses[name]
        row = table[index]
        query_id, positive_id, negative_id = table.row_ids(index)
        ids = [query_id if use.mask_own_targets else query_id ^ OWN_SPACE, positive_id]
        items = [(row.query, use.query_prompt), (row.positive, use.target_prompt)]
        if with_negative:
            negative, negative_id = self._negative(name, index, row, negative_id)
            items.append((negative, use.target_prompt))
            ids.append(negative_id)
        return _Pair(ids, [self._input(name, item, prompt) for item, prompt in items])

    def _negative(self, name: str, index: int, row: TrainRow, own_id: int) -> tuple[RowItem, int]:
        """The row's own negative, or the positive of another row, and its id."""
        if row.negative is not None and self.uses[name].hard_negatives:
            return row.negative, own_id
        table = self.corpus.tables[name]
        other = index
        for attempt in range(SUBSTITUTES):
            other = self.corpus.another(name, index, -1 - attempt, self.seed)
            if table.row_ids(other)[1] != table.row_ids(index)[1]:
                break
        return table[other].positive, table.row_ids(other)[1]  # one that equals the positive has its id, and is masked

    def _input(self, name: str, item: RowItem, prompt: str) -> ModelInput:
        path = self.corpus.tables[name].image(item)
        return model_input(item.text, None if path is None else self.pictures.load(path), prompt=prompt)
