"""Late interaction as a second stage: the best of a search by vector, scored again by MaxSim."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llave.encode.forward import Refused
from llave.encode.item import Item
from llave.encode.late import LateEncoder, Tokens, TokensOutcome, maxsim_scores
from llave.models.late import LateModel
from llave.models.open import load_late

__all__ = ["LateStage"]


class LateStage:
    """Scores of documents for a query, in [-1, 1]; higher is better.

    Args:
        model: an open model, or what :func:`llave.models.open.load_late` opens.
        factor: of token pooling, of documents that are encoded here.
        device: of a model that is opened here.
        options: ``reading``, ``batch_size`` and ``tokens_per_batch`` of :class:`llave.encode.encoder.Encoder`.
    """

    def __init__(
        self, model: LateModel | str | Path, *, factor: float = 1, device: str | None = None, **options: Any
    ) -> None:
        self.model = model if isinstance(model, LateModel) else load_late(model, device=device)
        self._query = LateEncoder(self.model, "query", **options)
        self._document = LateEncoder(self.model, "document", factor=factor, **options)

    def query(self, item: Item) -> TokensOutcome:
        """Unit vectors (T, D) of a query's tokens, for :meth:`llave.rerank.late_store.LateStore.nearest`."""
        return self._query([item])[0]

    def __call__(self, query: Item, documents: Sequence[Item]) -> list[float | Refused]:
        """A score, or why there is none, per document, in order; a query that has none is the reason of all."""
        asked = self.query(query)
        if isinstance(asked, Refused):
            return [asked] * len(documents)
        return self._scores(asked, self._document(documents))

    def of_stored(self, query: Item, documents: Sequence[Tokens | None]) -> list[float | Refused]:
        """The same of documents whose tokens are stored (:class:`llave.rerank.late_store.LateStore`); None has none."""
        asked = self.query(query)
        if isinstance(asked, Refused):
            return [asked] * len(documents)
        missing = Refused("file", "its tokens are not stored")
        return self._scores(asked, [missing if tokens is None else tokens for tokens in documents])

    def _scores(self, query_TD: Tokens, documents: Sequence[Tokens | Refused]) -> list[float | Refused]:
        there = [number for number, tokens in enumerate(documents) if not isinstance(tokens, Refused)]
        scores = maxsim_scores(query_TD, [documents[number] for number in there])  # type: ignore[misc]
        found: dict[int, float] = dict(zip(there, scores.tolist(), strict=True))
        return [tokens if isinstance(tokens, Refused) else found[number] for number, tokens in enumerate(documents)]
