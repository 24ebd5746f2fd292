"""Is the index as good as exact search, and how fast? Measured on its own items."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llave.search.filters import EVERYTHING, Condition
from llave.search.store import Settings

if TYPE_CHECKING:
    from llave.search.index import Index

__all__ = ["Measurement", "check_index", "find_settings", "own_vectors"]

LADDER = ((10, 4), (20, 8), (40, 16), (80, 32), (160, 64), (640, 128))
"""Probes and candidates per hit, tried in this order."""
FILTER_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Searches of an index beside exact ones.

    Args:
        filter: what items had to pass, and the share that does.
        recall: of the k best that exact search finds, mean over queries.
        worst: the lowest recall of a query.
        p50_ms: median time of a search; p95_ms: of the slower ones; exact_ms: median of exact search.
    """

    filter: Condition | None
    share: float
    recall: float
    worst: float
    p50_ms: float
    p95_ms: float
    exact_ms: float


def check_index(index: "Index", *, queries: int = 100, k: int = 10, seed: int = 0) -> list[Measurement]:
    """Recall and latency without a filter, and with one that about a tenth of the items pass, if there is one.

    Queries are items and points between two items, half each, drawn by ``seed``: the latter lie away from the data,
    as those of people do.

    Args:
        queries: how many.
        k: hits of a search.
    """
    query_QD = own_vectors(index, queries, seed)
    return [_measure(index, query_QD, k, conditions, share) for conditions, share in _filters(index)]


def find_settings(index: "Index", *, queries: int = 50, seed: int = 0) -> tuple[Settings, float]:
    """The index's settings with the fewest probes and candidates that reach their target of the ten best, with and
    without a filter, or with the most that there are, if none does; and the recall that these have here."""
    query_QD = own_vectors(index, queries, seed)
    filters = [conditions for conditions, _ in _filters(index)]
    truth = {conditions: _search(index, query_QD, 10, conditions, exact=True)[0] for conditions in filters}
    target = index.info.settings.target
    for probes, refine in LADDER:
        settings = dataclasses.replace(index.info.settings, probes=probes, refine=refine)
        index.store.use(settings)
        recall = min(float(_recall(_search(index, query_QD, 10, each)[0], truth[each]).mean()) for each in filters)
        if recall >= target + (1 - target) / 2:  # a margin, since these are few queries
            break
    return settings, recall


def _measure(
    index: "Index", query_QD: NDArray[np.float32], k: int, condition: Condition | None, share: float
) -> Measurement:
    _search(index, query_QD[:5], k, condition)  # warm up
    truth, exact = _search(index, query_QD, k, condition, exact=True)
    found, seconds = _search(index, query_QD, k, condition)
    recall = _recall(found, truth)
    return Measurement(
        filter=condition,
        share=share,
        recall=float(recall.mean()),
        worst=float(recall.min()),
        p50_ms=1e3 * float(np.median(seconds)),
        p95_ms=1e3 * float(np.percentile(seconds, 95)),
        exact_ms=1e3 * float(np.median(exact)),
    )


def _search(
    index: "Index", query_QD: NDArray[np.float32], k: int, condition: Condition | None, *, exact: bool = False
) -> tuple[list[list[tuple[str, float]]], list[float]]:
    """Per query (id, cosine) of the hits, and the seconds that they took."""
    found, seconds = [], []
    for query_D in query_QD:
        start = time.perf_counter()
        hits = index.search(query_D, limit=k, filter=condition or EVERYTHING, exact=exact)
        seconds.append(time.perf_counter() - start)
        found.append([(hit.id, hit.score) for hit in hits])
    return found, seconds


def _recall(
    found: Sequence[Sequence[tuple[str, float]]], truth: Sequence[Sequence[tuple[str, float]]]
) -> NDArray[np.float64]:
    """Share of the true hits that were found, per query; an item that ties with the last true hit is one, too."""
    shares = []
    for hits, true in zip(found, truth, strict=True):
        bar = min((score for _, score in true), default=0.0) - 1e-6
        shares.append(sum(score >= bar for _, score in hits) / len(true) if true else 1.0)
    return np.asarray(shares)


def own_vectors(index: "Index", count: int, seed: int) -> NDArray[np.float32]:
    """Queries (Q, D) of an index's own: items, and sums of two, half each, drawn by a seed."""
    _, item_ND = index.store.vectors(limit=4 * count)
    rng = np.random.default_rng(seed)
    first_QD, second_QD = (item_ND[rng.integers(len(item_ND), size=count)] for _ in range(2))
    second_QD[: count // 2] = first_QD[: count // 2]
    mixed_QD = first_QD + second_QD
    norm_Q1 = np.linalg.norm(mixed_QD, axis=1, keepdims=True)
    query_QD: NDArray[np.float32] = np.where(norm_Q1 > 1e-3, mixed_QD / np.maximum(norm_Q1, 1e-3), first_QD)
    return query_QD


def _filters(index: "Index") -> list[tuple[Condition | None, float]]:
    """No filter, and the value of a field whose share is nearest to a tenth."""
    total = max(index.count(), 1)
    shares: Mapping[Condition, float] = {
        Condition(field.name, "=", value): count / total for field in index.fields() for value, count in field.values
    }
    near = [conditions for conditions, share in shares.items() if 0.02 <= share <= 0.3]
    best = min(near, key=lambda conditions: abs(shares[conditions] - FILTER_SHARE), default=None)
    return [(None, 1.0)] + ([] if best is None else [(best, shares[best])])
