"""The hardest negatives of each pair, by blocked matrix products, without probable false ones. Arrays only.

Symbols: R rows (pairs), Q unique queries, T unique targets, D dimensions, K candidates of a row.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Limits", "Mined", "Pairs", "hardest"]

BLOCK_BYTES = 256 << 20  # of one block of scores
BLOCK_ROWS = 4096
Scores = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""(query numbers (B,), target numbers (B, K)) -> a second model's scores (B, K)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Which candidates count; see :class:`llave.mining.config.MineConfig`."""

    negatives: int = 1
    relative_margin: float | None = None
    margin: float | None = None
    min_rank: int = 0
    max_rank: int = 100

    def allowed(self, positive_B1: NDArray[np.float32]) -> NDArray[np.float32]:
        """The highest score of a negative beside this positive; the share of a positive below 0 lies below it too."""
        limit = np.full_like(positive_B1, np.inf)
        if self.relative_margin is not None:
            limit = np.minimum(limit, positive_B1 - (1 - self.relative_margin) * np.abs(positive_B1))
        if self.margin is not None:
            limit = np.minimum(limit, positive_B1 - self.margin)
        return limit


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows as numbers of unique queries and targets, and for each query all its targets."""

    query_R: NDArray[np.int64]
    target_R: NDArray[np.int64]
    _starts: NDArray[np.int64] = field(init=False)
    _positives: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        order = np.argsort(self.query_R, kind="stable")
        counts = np.bincount(self.query_R, minlength=int(self.query_R.max(initial=-1)) + 1)
        object.__setattr__(self, "_positives", self.target_R[order])
        object.__setattr__(self, "_starts", np.concatenate([[0], np.cumsum(counts)]))

    def positives(self, query: int) -> NDArray[np.int64]:
        """Targets of every row with this query."""
        return self._positives[self._starts[query] : self._starts[query + 1]]


@dataclass(slots=True)
class Mined:
    """A block's negatives, and why candidates were left out.

    Args:
        target_BN: target numbers, hardest first; -1 where there is none.
        above: candidates within the ranks that were dropped as probable false negatives.
        unreadable: rows without an embedding of query or positive.
    """

    target_BN: NDArray[np.int64]
    above: int
    unreadable: int


def hardest(
    query_QD: NDArray[np.float32],
    target_TD: NDArray[np.float32],
    pairs: Pairs,
    limits: Limits,
    *,
    judge: Scores | None = None,
    device: str | torch.device = "cpu",
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Mined]:
    """Negatives of the rows, block by block.

    Args:
        query_QD, target_TD: unit vectors; a row of NaN has no embedding and is nobody's negative.
        pairs: the rows. Targets of any row with the same query are known positives, and left out.
        judge: scores of a second model, to which the margins then apply.
        block_bytes: of the scores at a time.
    """
    targets = torch.from_numpy(np.nan_to_num(target_TD)).to(device)
    absent = torch.from_numpy(np.isnan(target_TD[:, 0])).to(device)
    ranks = min(limits.max_rank, len(target_TD))
    size = min(max(block_bytes // (4 * max(len(target_TD), 1)), 1), BLOCK_ROWS)
    for start in range(0, len(pairs.query_R), size):
        query_B, target_B = pairs.query_R[start : start + size], pairs.target_R[start : start + size]
        score_BT = torch.from_numpy(query_QD[query_B]).to(device) @ targets.T  # NaN for a query without an embedding
        score_BT[:, absent] = torch.nan
        positive_B1 = score_BT.gather(1, torch.from_numpy(target_B)[:, None].to(device)).cpu().numpy()
        score_BT.nan_to_num_(nan=-torch.inf, neginf=-torch.inf)
        known = [pairs.positives(query) for query in query_B]
        rows = np.repeat(np.arange(len(query_B)), [len(targets_of) for targets_of in known])
        score_BT[torch.from_numpy(rows), torch.from_numpy(np.concatenate(known))] = -torch.inf
        top = score_BT.topk(ranks, dim=1)
        score_BK, candidate_BK = top.values.cpu().numpy(), top.indices.cpu().numpy()
        yield _filter(query_B, target_B, positive_B1, score_BK, candidate_BK, limits, judge)


def _filter(
    query_B: NDArray[np.int64],
    target_B: NDArray[np.int64],
    positive_B1: NDArray[np.float32],
    score_BK: NDArray[np.float32],
    candidate_BK: NDArray[np.int64],
    limits: Limits,
    judge: Scores | None,
) -> Mined:
    readable_B1 = np.isfinite(positive_B1)
    inside_BK = np.isfinite(score_BK) & readable_B1
    inside_BK[:, : limits.min_rank] = False
    if judge is not None:
        score_BK, positive_B1 = judge(query_B, candidate_BK), judge(query_B, target_B[:, None])
    with np.errstate(invalid="ignore"):
        good_BK = inside_BK & (score_BK <= limits.allowed(positive_B1))
    chosen_BK = good_BK & (good_BK.cumsum(1) <= limits.negatives)
    target_BN = np.full((len(query_B), limits.negatives), -1, np.int64)
    rows, ranks = np.nonzero(chosen_BK)
    target_BN[rows, good_BK.cumsum(1)[rows, ranks] - 1] = candidate_BK[rows, ranks]
    return Mined(target_BN, int((inside_BK & ~good_BK).sum()), int((~readable_B1).sum()))
