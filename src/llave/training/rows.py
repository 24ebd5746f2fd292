"""MMEB training rows as model inputs: pictures decoded, ids, and collation, in the main process or in workers.

With GradCache a batch is prepared lazily: the collator opens and preprocesses every row once, a few at a time, keeps
ids and lengths, and lets go of the rest; :meth:`Collator.piece` prepares a mini-batch again when it is to be embedded.
Preprocessing twice (three times where a trained vision tower sees a picture twice) takes neither memory nor disk; both
would grow with the batch, by 9 MB for each picture of five tiles.

Whatever a decoder or the model's preprocessing raises for one row costs that row: another of its data set takes its
place, drawn by seed and row, so that every process and every number of workers sees the same batch of the same size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from llave.data.corpus import Corpus
from llave.data.door import reason_of
from llave.data.mmeb import RowItem, TrainRow
from llave.data.picture_cache import PictureCache
from llave.data.row_ids import OWN_SPACE
from llave.data.row_text import BLANK, blank_picture, met
from llave.errors import DataError, UserError
from llave.models.model import Cuts
from llave.models.prompts import ModelInput, model_input
from llave.storage.client import StorageError
from llave.training.row_errors import RowErrors

__all__ = ["DECODED_BYTES", "FAILURE", "LENGTHS", "ROWS", "TASK", "TEXTS_CUT", "Collator", "Use"]

DECODED_BYTES = 800_000_000
"""Decoded pictures that a rank keeps, in bytes (4,000 of 224 x 224)."""
SUBSTITUTES = 32
"""Rows tried in place of a broken one, before the data set is called broken."""
FAILURE = "failure"
"""Key of a batch that could not be made: why. An exception would come out of a worker as its traceback."""
TASK = "task"
"""Key of the number of a batch's data set (in mixed batches of the first row's) among the corpus's."""
TEXTS_CUT = "texts_cut"
"""Key of the number of a batch's texts that are longer than the model reads."""
ROWS = "rows"
"""Key of a lazy batch's rows in the corpus, those that stand in for broken ones among them."""
LENGTHS = "lengths"
"""Key of a lazy batch's tokens by column: one (B,) each, None where the model has no tokens."""
LAZY_ROWS = 8
"""Rows that the collator of lazy batches preprocesses at a time."""


@dataclass(frozen=True, slots=True)
class Use:
    """How training uses a data set: the prompts of its queries and targets, and whether its negatives count.

    ``mask_own_targets``: a target that is another row's very query is no negative of that query.
    """

    query_prompt: str | None = None
    target_prompt: str | None = None
    hard_negatives: bool = False
    mask_own_targets: bool = True


@dataclass(frozen=True, slots=True)
class _Pair:
    """A row that is ready: its index in the table; ids, inputs and prompts by column."""

    index: int
    ids: list[int]
    inputs: list[ModelInput]
    prompts: list[str | None]


Columns = list[dict[str, Any]]


class Collator:
    """Rows ``{"row": number in the corpus}`` to preprocessed columns and their ids.

    Args:
        preprocess: of the model: inputs, and ``prompt`` with one for each.
        corpus: the rows.
        uses: by data set. Where one uses hard negatives, its batches have a third column; a row without a negative
            of its own takes another row's positive, so that all ranks have the same columns.
        mixed: batches mix data sets: all of them have the third column if any data set uses it.
        verbatim, blank: see :func:`llave.data.row_text.met`.
        errors: where broken rows are noted; None lets them end the run.
        seed: of the replacements.
        decoded_bytes: decoded pictures that are kept.
        cuts: where ``preprocess`` counts the texts that it cuts.
        roles: ``preprocess`` is told what a column is, as ``task``: "query" or "document".
        lazy: batches have ids, :data:`ROWS` and :data:`LENGTHS` instead of inputs, which :meth:`piece` gives.
    """

    valid_label_columns: Sequence[str] = ("label",)  # read by sentence-transformers' trainer

    def __init__(
        self,
        preprocess: Callable[..., dict[str, Any]],
        corpus: Corpus,
        *,
        uses: Mapping[str, Use] | None = None,
        mixed: bool = False,
        verbatim: bool = False,
        blank: bool = False,
        errors: RowErrors | None = None,
        seed: int = 0,
        decoded_bytes: int = DECODED_BYTES,
        cuts: Cuts | None = None,
        lazy: bool = False,
        roles: bool = False,
    ) -> None:
        self.preprocess = preprocess
        self.corpus = corpus
        self.uses = {name: (uses or {}).get(name, Use()) for name in corpus.tables}
        self.mixed = mixed
        self.verbatim = verbatim
        self.blank = blank
        self.errors = errors
        self.seed = seed
        self.pictures = PictureCache(decoded_bytes)
        self.cuts = cuts or Cuts()
        self.lazy = lazy
        self.roles = roles

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        try:
            return self._batch(features)
        except UserError as error:
            if self.errors is None:
                raise
            return {FAILURE: str(error)}

    def piece(self, column: int, rows: Sequence[int], *, with_negatives: bool) -> dict[str, Any]:
        """Preprocessed inputs of one column of rows that a lazy batch named."""
        try:
            inputs, prompts = [], []
            for row in rows:
                name, index = self.corpus.locate(row)
                _, item, prompt = self._sides(name, index, with_negatives)[column]
                inputs.append(self._input(name, item))
                prompts.append(prompt)
            return self._features(column, inputs, prompts)
        except StorageError as error:
            return {FAILURE: str(error)}
        except Exception as error:  # whatever a decoder or a processor raises, for a row that it took before
            return {FAILURE: f"the data has changed while it is trained on: {reason_of(error)}"}

    def _batch(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        places = [self.corpus.locate(feature["row"]) for feature in features]
        uses = self.uses.values() if self.mixed else [self.uses[name] for name, _ in places]
        with_negatives = any(use.hard_negatives for use in uses)
        task = {TASK: list(self.corpus.tables).index(places[0][0])}
        if self.lazy:
            return self._lazy_batch(places, with_negatives) | task
        pairs, columns, cut = self._prepared(places, with_negatives)
        batch: dict[str, Any] = {"label": torch.tensor([pair.ids for pair in pairs])}
        for column, found in zip(("query", "positive", "negative"), columns, strict=False):
            batch |= {f"{column}_{key}": value for key, value in found.items()}
        return {**batch, **task, TEXTS_CUT: cut}

    def _lazy_batch(self, places: list[tuple[str, int]], with_negatives: bool) -> dict[str, Any]:
        ids: list[list[int]] = []
        rows: list[int] = []
        lengths: list[list[Tensor | None]] = []
        texts_cut = 0
        for start in range(0, len(places), LAZY_ROWS):
            group = places[start : start + LAZY_ROWS]
            pairs, columns, cut = self._prepared(group, with_negatives)
            ids += [pair.ids for pair in pairs]
            rows += [self.corpus.number(name, pair.index) for (name, _), pair in zip(group, pairs, strict=True)]
            lengths.append([_lengths(column) for column in columns])
            texts_cut += cut
        of_columns = [
            None if any(part is None for part in parts) else torch.cat(parts) for parts in zip(*lengths, strict=True)
        ]
        return {"label": torch.tensor(ids), ROWS: rows, LENGTHS: of_columns, TEXTS_CUT: texts_cut}

    def _prepared(self, places: list[tuple[str, int]], with_negatives: bool) -> tuple[list[_Pair], Columns, int]:
        """The rows or their substitutes, their preprocessed columns, and the number of texts that were cut."""
        pairs = [self._pair(name, index, with_negatives) for name, index in places]
        before = self.cuts.texts
        try:
            columns = self._columns(pairs)
        except Exception:  # whatever a processor raises for an input that it cannot take
            if self.errors is None:
                raise
            for number in self._refused(pairs):
                pairs[number] = self._pair(*places[number], with_negatives, checked=True)
            before = self.cuts.texts
            columns = self._columns(pairs)
        return pairs, columns, self.cuts.texts - before

    def _columns(self, pairs: list[_Pair]) -> Columns:
        """Preprocessed queries, positives and, where there are any, negatives."""
        return [
            self._features(column, [pair.inputs[column] for pair in pairs], [pair.prompts[column] for pair in pairs])
            for column in range(len(pairs[0].inputs))
        ]

    def _features(self, column: int, inputs: list[ModelInput], prompts: list[str | None]) -> dict[str, Any]:
        role = {"task": "document" if column else "query"} if self.roles else {}
        return self.preprocess(inputs, prompt=prompts, **role)

    def _refused(self, pairs: list[_Pair], first: int = 0) -> list[int]:
        """Places of the rows that the model does not take, by halving."""
        try:
            self._columns(pairs)
        except Exception as error:
            if len(pairs) == 1:
                return [first]
            middle = len(pairs) // 2
            found = self._refused(pairs[:middle], first) + self._refused(pairs[middle:], first + middle)
            if not found:
                raise DataError(
                    f"{len(pairs)} rows that the model does not take together: {reason_of(error)}"
                ) from None
            return found
        return []

    def _pair(self, name: str, index: int, with_negative: bool, *, checked: bool = False) -> _Pair:
        """The row, or its first substitute that opens and, if ``checked``, that the model takes."""
        table = self.corpus.tables[name]
        candidate, first = index, ""
        for attempt in range(SUBSTITUTES):
            try:
                pair = self._ready(name, candidate, with_negative)
                if checked:
                    self._columns([pair])
            except StorageError:
                raise  # the row is as good as ever
            except Exception as error:  # whatever a decoder or a processor raises
                if self.errors is None:
                    raise
                first = first or reason_of(error)
                self.errors.report(*table.where(candidate), reason_of(error))
                candidate = self.corpus.another(name, index, attempt, self.seed)
            else:
                return pair
        raise DataError(f"{name}: {SUBSTITUTES} rows in a row cannot be used; the first: {first}")

    def _ready(self, name: str, index: int, with_negative: bool) -> _Pair:
        sides = self._sides(name, index, with_negative)
        return _Pair(
            index,
            [number for number, _, _ in sides],
            [self._input(name, item) for _, item, _ in sides],
            [prompt for _, _, prompt in sides],
        )

    def _sides(self, name: str, index: int, with_negative: bool) -> list[tuple[int, RowItem, str | None]]:
        """Id, item and prompt of the query, of the positive and, if asked for, of a negative."""
        table, use = self.corpus.tables[name], self.uses[name]
        row = table[index]
        query_id, positive_id, negative_id = table.row_ids(index)
        sides = [
            (query_id if use.mask_own_targets else query_id ^ OWN_SPACE, row.query, use.query_prompt),
            (positive_id, row.positive, use.target_prompt),
        ]
        if with_negative:
            negative, negative_id = self._negative(name, index, row, negative_id)
            sides.append((negative_id, negative, use.target_prompt))
        return sides

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

    def _input(self, name: str, item: RowItem) -> ModelInput:
        seen, _ = met(item, verbatim=self.verbatim, blank=self.blank)
        if seen.image == BLANK:
            return model_input(seen.text, blank_picture(), verbatim=True)
        path = self.corpus.tables[name].picture(seen)
        return model_input(seen.text, None if path is None else self.pictures.load(path), verbatim=True)


def _lengths(features: dict[str, Any]) -> Tensor | None:
    """Tokens of each row of a column, (B,); None where the model has no tokens."""
    mask, ends = features.get("attention_mask"), features.get("cu_seq_lens_q")
    if isinstance(ends, Tensor):  # texts behind one another without padding
        return ends.diff()
    return mask.sum(1) if isinstance(mask, Tensor) else None
