"""Late interaction in an evaluation: tokens of a table's queries and candidates, and rows scored by MaxSim.

An item that is a query here and a candidate there is encoded as each. Candidates are kept as an index keeps them: with
their tokens pooled, in float16.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llave.encode.forward import Refused
from llave.encode.item import Measured
from llave.encode.late import Documents, LateEncoder, Tokens, maxsim_scores
from llave.encode.table import ItemTable, same_content
from llave.evaluation.scoring import DENSE, NEAR, Numbers, Scores
from llave.models.late import LateModel, Role
from llave.progress import show_progress

__all__ = ["LateEncoding", "encode_late"]

BLOCK_ROWS = 64
STORED = np.float16


class LateEncoding:
    """Tokens of a table's items; see :class:`llave.encode.table.Encoding` for what the two have alike.

    Attributes:
        queries: tokens (T, D) by number, float32.
        documents: tokens (S, D) by number, :data:`STORED`.
    """

    def __init__(self, measured: Sequence[Measured | Refused], factor: float) -> None:
        self.queries: dict[int, Tokens] = {}
        self.documents: dict[int, Tokens] = {}
        self.errors: dict[int, Refused] = {n: about for n, about in enumerate(measured) if isinstance(about, Refused)}
        self.same_U = same_content(measured)
        self.keys = [about.key if isinstance(about, Measured) else b"" for about in measured]
        self.factor = factor
        self._twins: dict[int, int] = {}
        self.encoded = self.cut = self.cut_sounds = self.cached = 0

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of all tokens."""
        found = hashlib.sha256()
        for side in (self.queries, self.documents):
            for number in sorted(side):
                found.update(f"{number} {side[number].shape}".encode() + side[number].tobytes())
        return found.hexdigest()

    def about(self) -> dict[str, Any]:
        """What a candidate takes: tokens and bytes, on average and at most; the numbers of a vector."""
        tokens = [len(value) for value in self.documents.values()]
        sizes = [value.nbytes for value in self.documents.values()]
        return {
            "token_pooling": self.factor,
            "dtype": np.dtype(STORED).name,
            "dimensions": next((value.shape[1] for value in self.documents.values()), 0),
            "documents": len(tokens),
            "tokens_per_document": round(float(np.mean(tokens)), 2) if tokens else 0.0,
            "bytes_per_document": round(float(np.mean(sizes)), 1) if sizes else 0.0,
            "most_bytes_of_a_document": max(sizes, default=0),
        }

    def note(self) -> str:
        """The same as a line."""
        about = self.about()
        return (
            f"late interaction: {about['tokens_per_document']:,.1f} vectors of {about['dimensions']} numbers for each "
            f"of {about['documents']:,} candidates, {about['bytes_per_document']:,.0f} bytes in {about['dtype']} "
            f"(token pooling {about['token_pooling']:g})"
        )

    def put(self, number: int, role: Role, tokens_TD: Tokens) -> None:
        """Keep an item's tokens; as a candidate also for the first item of its content, which may stand for it."""
        if role == "query":
            self.queries[number] = tokens_TD
        else:
            self.documents[number] = tokens_TD.astype(STORED)
            self._twins[int(self.same_U[number])] = number

    def _document(self, number: int) -> Tokens:
        return self.documents[number if number in self.documents else self._twins[number]]

    def row_scores(
        self, queries: Sequence[int], candidates: Sequence[Numbers], relevant: Sequence[int]
    ) -> Iterator[Scores]:
        """Mean MaxSim (C,) of each row; exact, in float64, where the rank of a relevant candidate may depend on it.

        Arguments as of :func:`llave.evaluation.scoring.row_scores`.
        """
        for start in range(0, len(queries), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            union = np.unique(np.concatenate(candidates[rows]))
            dense = len(union) * len(queries[rows]) <= DENSE * sum(len(own) for own in candidates[rows])
            shared = Documents([self._document(number) for number in union.tolist()]) if dense else None
            for query, own, count in zip(queries[rows], candidates[rows], relevant[rows], strict=True):
                tokens_TD = self.queries[query]
                if shared is not None:
                    scores = shared.scores(tokens_TD)[np.searchsorted(union, own)]
                else:
                    scores = maxsim_scores(tokens_TD, [self._document(number) for number in own.tolist()])
                yield self._exact(scores, tokens_TD, own, count)

    def _exact(self, scores_C: NDArray[np.float32], query_TD: Tokens, own: Numbers, relevant: int) -> Scores:
        exact = scores_C.astype(np.float64)
        near = (np.abs(scores_C[:, None] - scores_C[None, :relevant]) < NEAR).any(axis=1)
        for place in np.flatnonzero(near):
            cosine_TS = query_TD.astype(np.float64) @ self._document(int(own[place])).astype(np.float64).T
            exact[place] = cosine_TS.max(axis=1).mean()
        return exact


def encode_late(
    model: LateModel,
    table: ItemTable,
    queries: Sequence[int],
    candidates: Sequence[int],
    *,
    factor: float = 1,
    progress: bool = True,
    **options: Any,
) -> LateEncoding:
    """Tokens of the queries and candidates of a table, those of equal content once.

    Args:
        queries, candidates: their numbers.
        factor: of token pooling, see :class:`llave.encode.late.LateEncoder`.
        options: of the same.

    Raises:
        UserError: the model refuses one item after the other.
    """
    items = [table.item(number) for number in range(len(table))]
    sides: list[tuple[Role, Sequence[int]]] = [("query", queries), ("document", candidates)]
    with show_progress(progress) as work:
        work.stage("read", len(items))
        encoders = {role: LateEncoder(model, role, factor=factor, **options) for role, _ in sides}
        measured = encoders["query"].measure(items, work.advance)
        encoding = LateEncoding(measured, factor)
        for role, numbers in sides:

            def plan(different: int, known: int, tokens: int, role: Role = role) -> None:
                work.stage(f"encode {'queries' if role == 'query' else 'candidates'}", different, cost=tokens)

            def advance(done: int, tokens: int) -> None:
                encoding.encoded += done
                work.advance(done, cost=tokens)

            encoder = encoders[role]
            of_side = [items[number] for number in numbers]
            outcomes = encoder.encode(of_side, [measured[number] for number in numbers], plan=plan, advance=advance)
            encoding.cut += encoder.cut
            encoding.cut_sounds += encoder.cut_sounds
            for number, outcome in zip(numbers, outcomes, strict=True):
                if isinstance(outcome, Refused):
                    encoding.errors[number] = outcome
                else:
                    encoding.put(number, role, outcome)
    return encoding
