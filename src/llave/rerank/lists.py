"""A query's list, its positive and some negatives, from MMEB's training rows; and lists as a batch for the losses.

Rows of one query are put together: any of their positives is never a negative, and all their own hard negatives are
drawn from. Whatever a decoder raises for one document costs that document; for a query or a positive, another row of
the data set takes its place.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from llave.data.corpus import Corpus
from llave.data.door import named, reason_of
from llave.data.mmeb import RowItem
from llave.data.picture_cache import PictureCache
from llave.data.row_text import met
from llave.errors import DataError, UserError
from llave.models.prompts import ModelInput, model_input
from llave.rerank.config import NegativesConfig
from llave.training.row_errors import RowErrors
from llave.training.rows import DECODED_BYTES, SUBSTITUTES

__all__ = ["Drawn", "ListCollator", "Lists"]

TRIES = 16
"""Draws for a random negative that is none of the query's positives, before the list does without."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Documents of a list as (row of the data set, column: "positive" or "negative"), the positive first."""

    name: str
    row: int
    documents: list[tuple[int, str]]


class _Queries:
    """Which positives and which negatives the rows of a data set have for each query."""

    def __init__(self, table: Any) -> None:
        ids = np.array([table.row_ids(row) for row in range(len(table))], np.int64).reshape(-1, 3)
        self.ids = ids
        _, self.of_row, starts = np.unique(ids[:, 0], return_inverse=True, return_counts=True)
        order = np.argsort(self.of_row, kind="stable")
        self.rows: list[NDArray[np.int64]] = np.split(order, np.cumsum(starts)[:-1])
        pairs = ids[:, :2]
        self.first = np.sort(np.unique(pairs, axis=0, return_index=True)[1])

    def positives(self, row: int) -> set[int]:
        """Ids of all right answers to the row's query."""
        return set(self.ids[self.rows[self.of_row[row]], 1].tolist())

    def negatives(self, row: int) -> list[int]:
        """Rows with different negatives of the row's query, none of them a right answer."""
        right = self.positives(row)
        found: dict[int, int] = {}
        for other in self.rows[self.of_row[row]].tolist():
            number = int(self.ids[other, 2])
            if number and number not in right:
                found.setdefault(number, other)
        return list(found.values())


class Lists:
    """The lists of a run, numbered: one for each different pair of a query and its positive.

    Args:
        corpus: the rows.
        config: how many negatives of which kind.
        weights: share of each data set's lists that is drawn, once, by the seed; 2 shows each twice.
        seed: of that and of the negatives.
    """

    def __init__(
        self, corpus: Corpus, config: NegativesConfig, *, weights: Mapping[str, float] | None = None, seed: int = 0
    ) -> None:
        self.corpus = corpus
        self.config = config
        self.seed = seed
        self.queries = {name: _Queries(table) for name, table in corpus.tables.items()}
        self.numbers: list[tuple[str, int]] = []
        for name, queries in self.queries.items():
            weight = (weights or {}).get(name, 1.0)
            order = np.random.default_rng([seed, len(self.numbers)]).permutation(queries.first)
            wanted = round(weight * len(order))
            chosen = np.resize(order, wanted) if len(order) else order
            self.numbers += [(name, int(row)) for row in chosen]

    def __len__(self) -> int:
        return len(self.numbers)

    def draw(self, number: int, step: int, attempt: int = 0) -> Drawn:
        """A list with its negatives, a function of the seed and the arguments alone.

        Args:
            step: tells one batch from another, so that the next epoch has other negatives.
            attempt: 0 is the list itself; others are another query of its data set instead.
        """
        name, row = self.numbers[number]
        queries = self.queries[name]
        if attempt:
            row = int(queries.first[_hashed(self.seed, name, row, attempt) % len(queries.first)])
        random = np.random.default_rng([self.seed, step, row])
        own = queries.negatives(row)
        chosen = random.permutation(len(own))[: self.config.own]
        documents = [(row, "positive"), *((own[int(place)], "negative") for place in chosen)]
        right = queries.positives(row)
        seen = right | {int(queries.ids[own[int(place)], 2]) for place in chosen}
        wanted = 1 + self.config.own + self.config.random
        for _ in range(TRIES * wanted):
            if len(documents) == wanted:
                break
            other = int(random.integers(len(queries.ids)))
            target = int(queries.ids[other, 1])
            if target not in seen:
                seen.add(target)
                documents.append((other, "positive"))
        return Drawn(name, row, documents)


class ListCollator:
    """Numbers of lists ``{"row": number}`` to decoded queries, documents and labels, as the losses take them.

    Args:
        lists: of the run.
        flat: pairs instead of lists, for a pointwise loss.
        errors: where broken rows are noted.
    """

    valid_label_columns: Sequence[str] = ("label",)  # read by sentence-transformers' trainer

    def __init__(self, lists: Lists, *, flat: bool, errors: RowErrors) -> None:
        self.lists = lists
        self.flat = flat
        self.errors = errors
        self.pictures = PictureCache(DECODED_BYTES)

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        rows = [int(feature["row"]) for feature in features]
        step = _hashed(*rows) % 2**31
        made = [self._list(row, step) for row in rows]
        queries: list[ModelInput] = [query for query, _ in made]
        documents: list[list[ModelInput]] = [found for _, found in made]
        labels = [torch.tensor([1.0, *[0.0] * (len(found) - 1)]) for found in documents]
        if not self.flat:
            return {"query": queries, "documents": documents, "label": labels}
        pairs = [(query, document) for query, found in made for document in found]
        return {
            "query": [one for one, _ in pairs],
            "document": [other for _, other in pairs],
            "label": torch.cat(labels),
        }

    def _list(self, number: int, step: int) -> tuple[ModelInput, list[ModelInput]]:
        reason = ""
        for attempt in range(SUBSTITUTES):
            drawn = self.lists.draw(number, step, attempt)
            table = self.lists.corpus.tables[drawn.name]
            try:
                query = self._load(drawn.name, table[drawn.row].query)
                positive = self._load(drawn.name, table[drawn.row].positive)
            except UserError as error:
                reason = reason or reason_of(error)
                self.errors.report(*table.where(drawn.row), reason_of(error))
                continue
            documents = [positive]
            for row, column in drawn.documents[1:]:
                try:
                    documents.append(self._load(drawn.name, getattr(table[row], column)))
                except UserError as error:
                    self.errors.report(*table.where(row), reason_of(error))
            if len(documents) > 1:
                return query, documents
            reason = reason or "no negative for it can be used"
        raise DataError(f"{self.lists.numbers[number][0]}: {SUBSTITUTES} rows in a row cannot be used; first: {reason}")

    def _load(self, name: str, item: RowItem) -> ModelInput:
        seen, _ = met(item)
        path = self.lists.corpus.tables[name].image(seen)
        with named(str(path or name)):
            return model_input(seen.text, None if path is None else self.pictures.load(path), verbatim=True)


def _hashed(*parts: Any) -> int:
    digest = hashlib.blake2b(" ".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
