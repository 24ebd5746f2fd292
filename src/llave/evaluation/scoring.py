"""Cosines of queries and their candidates, in blocks of rows, and the ranks of the relevant ones.

A block's candidates are multiplied at once where rows share them (classification, a global corpus), and row by row
where they do not. Float32 products of the same vectors differ in the last bits with the shape of the product, so that a
tie would depend on the block; whatever comes near a relevant candidate's score is computed again in float64, one vector
at a time. Ranks are therefore the same for every block size, device and number of processes of the same vectors.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["DENSE", "NEAR", "Numbers", "Scores", "row_scores"]

BLOCK_ROWS = 256
DENSE = 4
"""A block is one product if it computes at most this many times the scores that are wanted."""
NEAR = 1e-5
"""Scores this close are computed again; a float32 product of unit vectors errs by less than a tenth of it."""

Numbers = NDArray[np.int32]
Scores = NDArray[np.float64]


def row_scores(
    embedding_UD: NDArray[np.float32],
    queries: Sequence[int],
    candidates: Sequence[Numbers],
    relevant: Sequence[int],
    *,
    device: str = "cpu",
) -> Iterator[Scores]:
    """Cosines (C,) of each row, exact where the rank of a relevant candidate may depend on it.

    Args:
        embedding_UD: unit vectors.
        queries: number of each row's query.
        candidates: (C,) numbers of each row's candidates, the relevant ones first.
        relevant: how many are relevant.
        device: where products of whole blocks are computed.
    """
    on_device = _Products(embedding_UD, device)
    for start in range(0, len(queries), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        found = on_device.block(np.array(queries[rows]), candidates[rows])
        for scores, query, numbers, count in zip(found, queries[rows], candidates[rows], relevant[rows], strict=True):
            yield _exact(scores, embedding_UD, query, numbers, count)


class _Products:
    """Products on a device; the embeddings are moved there once."""

    def __init__(self, embedding_UD: NDArray[np.float32], device: str) -> None:
        self._embedding_UD = torch.from_numpy(embedding_UD).to(device)

    def block(self, queries: NDArray[np.int64], candidates: Sequence[Numbers]) -> list[NDArray[np.float32]]:
        """Scores (C,) of each row, in float32 also where an evaluation during training encodes in 16 bits."""
        with torch.autocast(self._embedding_UD.device.type, enabled=False):
            return self._block(queries, candidates)

    def _block(self, queries: NDArray[np.int64], candidates: Sequence[Numbers]) -> list[NDArray[np.float32]]:
        sizes = [len(numbers) for numbers in candidates]
        union, place = np.unique(np.concatenate(candidates), return_inverse=True)
        query_BD = self._vectors(queries)
        if len(union) * len(queries) <= DENSE * sum(sizes):
            scores_BV = (query_BD @ self._vectors(union).T).cpu().numpy()
            places = np.split(place, np.cumsum(sizes)[:-1])
            return [scores[own] for scores, own in zip(scores_BV, places, strict=True)]
        return [(self._vectors(own) @ query_D).cpu().numpy() for own, query_D in zip(candidates, query_BD, strict=True)]

    def _vectors(self, numbers: NDArray[np.integer[Any]]) -> torch.Tensor:
        return self._embedding_UD[torch.from_numpy(np.ascontiguousarray(numbers, dtype=np.int64))]


def _exact(
    scores_C: NDArray[np.float32], embedding_UD: NDArray[np.float32], query: int, numbers: Numbers, relevant: int
) -> Scores:
    exact = scores_C.astype(np.float64)
    near = np.zeros(len(numbers), dtype=np.bool_)
    for score in scores_C[:relevant]:
        near |= np.abs(scores_C - score) < NEAR
    near[:relevant] = True
    vector_ND = embedding_UD[numbers[near]].astype(np.float64)
    exact[near] = (vector_ND * embedding_UD[query].astype(np.float64)).sum(axis=1)
    return exact
