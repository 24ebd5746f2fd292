"""Ranking metrics as pure array functions of the ranks of relevant candidates.

R queries, C candidates, P relevant candidates of a query (queries with fewer are padded). A rank counts from 1; every
metric here depends on nothing but the ranks and gains of the relevant candidates, so that no ranking of the others is
ever sorted or stored. A metric is a fraction between 0 and 1 per query.

Definitions follow VLM2Vec's scorer (MMEB-V2, arXiv 2507.04590), with graded NDCG taken from each candidate's own gain;
the released scorer pairs gains with the wrong candidates where a query has several.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CUTOFFS",
    "METRICS",
    "Ties",
    "average_precision",
    "f1",
    "hit",
    "metric_table",
    "metric_values",
    "ndcg",
    "pad",
    "precision",
    "recall",
    "reciprocal_rank",
    "relevant_ranks",
]

Ties = Literal["strict", "v1"]
"""Who wins a tie. ``strict``: the irrelevant candidate (and of two relevant ones the lower gain), because a model that
maps everything to one point would otherwise be perfect. ``v1``: the relevant one, as the original MMEB evaluation
decides, where the positive has index 0."""

CUTOFFS = (1, 5, 10)
Values = NDArray[np.float64]


def relevant_ranks(scores_C: ArrayLike, gains_P: ArrayLike, ties: Ties = "strict") -> Values:
    """Ranks (P,) of a query's relevant candidates, which are its first P candidates.

    A score that is not a number never counts for the model: the rank of such a relevant candidate is infinite, and such
    an irrelevant one stands above all.

    Args:
        scores_C: a score per candidate.
        gains_P: relevance of the first P candidates; decides between relevant ones of equal score.
        ties: see :data:`Ties`.
    """
    scores = np.asarray(scores_C, dtype=np.float64)
    gains = np.asarray(gains_P, dtype=np.float64)
    if scores.ndim != 1 or gains.ndim != 1 or not 0 < len(gains) <= len(scores):
        raise ValueError(f"expected (C,) scores and (P,) gains, 0 < P <= C, not {scores.shape} and {gains.shape}")
    if ties not in ("strict", "v1"):
        raise ValueError(f"ties must be 'strict' or 'v1', not {ties!r}")
    relevant, others = scores[: len(gains)], scores[len(gains) :]
    if len(gains) == 1:
        ahead = np.count_nonzero(~(others < relevant) if ties == "strict" else ~(others <= relevant))
        return np.array([np.inf if np.isnan(relevant[0]) else 1.0 + ahead])
    below = others[None, :] < relevant[:, None] if ties == "strict" else others[None, :] <= relevant[:, None]
    in_turn = gains if ties == "strict" else -gains  # which of two relevant candidates of equal score comes first
    order = np.lexsort((np.arange(len(gains)), in_turn, -np.nan_to_num(relevant, nan=-np.inf)))
    place = np.empty(len(gains))
    place[order] = np.arange(len(gains))
    return np.where(np.isnan(relevant), np.inf, 1.0 + place + np.count_nonzero(~below, axis=1))


def pad(rows: Sequence[ArrayLike], fill: float) -> Values:
    """Rows of different length as one array (R, P), short ones filled up."""
    arrays = [np.asarray(row, dtype=np.float64) for row in rows]
    padded = np.full((len(arrays), max((len(array) for array in arrays), default=0)), fill)
    for target, array in zip(padded, arrays, strict=True):
        target[: len(array)] = array
    return padded


def hit(rank_RP: Values, gain_RP: Values, k: int) -> Values:
    """Whether a relevant candidate is among the first k; at k = 1, MMEB's precision@1."""
    return np.asarray((rank_RP <= k).any(axis=1), dtype=np.float64)


def precision(rank_RP: Values, gain_RP: Values, k: int) -> Values:
    """Share of the first k that is relevant."""
    return np.asarray((rank_RP <= k).sum(axis=1) / k, dtype=np.float64)


def recall(rank_RP: Values, gain_RP: Values, k: int) -> Values:
    """Share of the relevant candidates that is among the first k."""
    return np.asarray((rank_RP <= k).sum(axis=1) / _num_relevant(gain_RP), dtype=np.float64)


def f1(rank_RP: Values, gain_RP: Values, k: int) -> Values:
    """Harmonic mean of precision and recall."""
    p, r = precision(rank_RP, gain_RP, k), recall(rank_RP, gain_RP, k)
    total = p + r
    return np.divide(2 * p * r, total, out=np.zeros_like(total), where=total > 0)


def reciprocal_rank(rank_RP: Values, gain_RP: Values, k: int) -> Values:
    """1 / rank of the best relevant candidate, 0 beyond k."""
    best = rank_RP.min(axis=1)
    return np.where(best <= k, 1.0 / best, 0.0)


def average_precision(rank_RP: Values, gain_RP: Values, k: int) -> Values:
    """Mean of the precision at each relevant candidate among the first k, over min(P, k)."""
    rank_RP = np.sort(rank_RP, axis=1)
    number_P = np.arange(1, rank_RP.shape[1] + 1)
    total = np.where(rank_RP <= k, number_P / rank_RP, 0.0).sum(axis=1)
    return np.asarray(total / np.minimum(_num_relevant(gain_RP), k), dtype=np.float64)


def ndcg(rank_RP: Values, gain_RP: Values, k: int, form: Literal["linear", "exponential"] = "linear") -> Values:
    """Discounted gain of the first k over that of the best ranking; ``exponential`` gains are 2^gain - 1."""
    gain_RP = gain_RP if form == "linear" else np.exp2(gain_RP) - 1.0
    found = np.where(rank_RP <= k, gain_RP / np.log2(np.minimum(rank_RP, k) + 1.0), 0.0).sum(axis=1)
    best = -np.sort(-gain_RP, axis=1)[:, :k]
    ideal = (best / np.log2(np.arange(2, best.shape[1] + 2))).sum(axis=1)
    return np.asarray(found / ideal, dtype=np.float64)


def _ndcg_exponential(rank_RP: Values, gain_RP: Values, k: int) -> Values:
    return ndcg(rank_RP, gain_RP, k, "exponential")


METRICS: dict[str, Callable[[Values, Values, int], Values]] = {
    "hit": hit,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "map": average_precision,
    "mrr": reciprocal_rank,
    "ndcg_linear": ndcg,
    "ndcg_exponential": _ndcg_exponential,
}
"""By the name that MMEB-V2's score files use."""


def metric_table(ranks: Sequence[ArrayLike], gains: Sequence[ArrayLike]) -> dict[str, Values]:
    """Every metric at every one of :data:`CUTOFFS` for R queries, (R,) each; arguments as of :func:`metric_values`."""
    rank_RP, gain_RP = pad(ranks, np.inf), pad(gains, 0.0)
    return {f"{name}@{k}": metric(rank_RP, gain_RP, k) for name, metric in METRICS.items() for k in CUTOFFS}


def metric_values(name: str, ranks: Sequence[ArrayLike], gains: Sequence[ArrayLike]) -> Values:
    """A metric such as ``"ndcg_linear@5"`` for R queries, (R,).

    Args:
        name: a key of :data:`METRICS`, ``@`` and a cutoff.
        ranks: (P,) per query, from :func:`relevant_ranks`.
        gains: (P,) per query, above 0.

    Raises:
        ValueError: no such metric.
    """
    kind, _, cutoff = name.partition("@")
    if kind not in METRICS or not cutoff.isdigit() or int(cutoff) < 1:
        raise ValueError(f"no metric {name!r}; there are {', '.join(METRICS)}, each with @K")
    return METRICS[kind](pad(ranks, np.inf), pad(gains, 0.0), int(cutoff))


def _num_relevant(gain_RP: Values) -> NDArray[np.int64]:
    return np.asarray((gain_RP > 0).sum(axis=1), dtype=np.int64)
