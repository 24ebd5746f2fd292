"""How few bytes the first stage of a search gets by with: fewer dimensions, smaller numbers, measured on an index's own
items.

A search in two stages compares small vectors with all items, and full vectors with the best of them. What the small
ones lose matters only where a true hit is not even among these. That depends on the model and on the items, hence the
table.

    found = measure_small(index)
    choice = cheapest(found, 0.98)
"""

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from llave.bulk.precision import bits, levels, truncate
from llave.search.check import find_settings, own_vectors
from llave.search.options import EXACT_BELOW
from llave.search.store import Settings, SmallPrecision
from llave.search.writing import writing

if TYPE_CHECKING:
    from llave.search.index import Index

__all__ = ["SAMPLE", "Applied", "SmallMeasurement", "apply_small", "cheapest", "measure_small"]

Measured = Literal["float32", SmallPrecision]
SAMPLE = 20_000
"""Items that are compared at most."""
PARTS = (1, 2, 4, 8)
"""Of the dimensions that are measured in any case."""
FACTORS = 12
"""Bytes of an item beside its bits in LanceDB's binary index: three numbers that correct the estimate of its cosine."""
ROWS_AT_ONCE = 4096
Scan = Callable[[NDArray[np.float32]], NDArray[Any]]
"""From a query (K,) to a score of every item (N,), the higher, the better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallMeasurement:
    """A first stage, beside exact search.

    Args:
        dimensions: that it compares, the first ones.
        precision: of its numbers.
        bytes: of an item in it, as LanceDB's index has them, without the item's number.
        recall: of the k best, when the best candidates are scored again by full vectors; mean over queries.
        alone: recall of the k best by these numbers alone.
        ms: median time of the first stage for a query, on this machine, with numpy, over the sample.
    """

    dimensions: int
    precision: Measured
    bytes: int
    recall: float
    alone: float
    ms: float


@dataclass(frozen=True, slots=True)
class Applied:
    """What an index has from now on.

    Args:
        settings: of approximate search.
        recall: of the ten best in the approximate index itself; None where it has too few items for one.
    """

    settings: Settings
    recall: float | None


def measure_small(
    index: "Index", *, dimensions: Iterable[int] = (), queries: int = 100, k: int = 10, refine: int = 8, seed: int = 0
) -> list[SmallMeasurement]:
    """Every precision of the whole vectors, and of their first halves, quarters and eighths, over a fixed sample of at
    most :data:`SAMPLE` items.

    Args:
        dimensions: others to measure, such as those that the model was trained for.
        queries: how many; made of the index's own items as those of :func:`llave.search.check.check_index`.
        k: hits of a query.
        refine: candidates per hit that are scored again.
        seed: of the queries.
    """
    _, item_ND = index.store.vectors(limit=SAMPLE)
    whole, k = item_ND.shape[1], min(k, len(item_ND))
    query_QD = own_vectors(index, queries, seed)
    query_QD /= np.linalg.norm(query_QD, axis=1, keepdims=True)
    true_QN = query_QD @ item_ND.T
    bar_Q = np.partition(true_QN, -k, axis=1)[:, -k] - 1e-6  # a tie with the last true hit is one, too
    lengths = {whole // part for part in PARTS} | {each for each in dimensions if each < whole}
    found = []
    for length in sorted((each for each in lengths if each > 0), reverse=True):
        item_NK, query_QK = truncate(item_ND, length), truncate(query_QD, length)
        for precision in get_args(Measured):
            scan = _scan(item_NK, precision)
            recall_Q, alone_Q, seconds_Q = np.zeros((3, queries))
            for place, query_K in enumerate(query_QK):
                start = time.perf_counter()
                score_N = scan(query_K)
                pool = _best(score_N, min(k * refine, len(item_ND)))
                seconds_Q[place] = time.perf_counter() - start
                hit_P = true_QN[place, pool] >= bar_Q[place]
                recall_Q[place] = min(k, int(hit_P.sum())) / k
                alone_Q[place] = min(k, int(hit_P[:k].sum())) / k
            measured = SmallMeasurement(
                dimensions=length,
                precision=precision,
                bytes=_bytes(length, precision),
                recall=float(recall_Q.mean()),
                alone=float(alone_Q.mean()),
                ms=1e3 * float(np.median(seconds_Q)),
            )
            found.append(measured)
    return found


def cheapest(found: Sequence[SmallMeasurement], target: float) -> SmallMeasurement | None:
    """The first stage of fewest bytes whose recall, after scoring again, reaches a target; None where none does. Of
    those that an index can have, which are int8 and binary."""
    return next(iter(_by_bytes(found, target)), None)


def apply_small(
    index: "Index",
    found: Sequence[SmallMeasurement],
    *,
    target: float,
    exact_below: int = EXACT_BELOW,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> Applied:
    """Give an index the cheapest first stage that reaches a target in the approximate index itself: it is built, its
    probes and candidates are found, and where it misses the target there, the next one is. The last is int8 of whole
    vectors. Searches go on meanwhile, slowly or with a recall that is not measured yet. Killed, ``index.json`` is as
    before, and the next ``llave index`` builds what it says.

    Args:
        found: of :func:`measure_small`.
        exact_below: with fewer items, none is built; the cheapest is what is built when there are as many.
        seed: of the queries that measure recall.
        tell: is told, in a line, what missed the target.

    Raises:
        UserError: another process writes to this index, or its store does not have this.
    """
    with writing(index):
        whole = index.info.dimension
        choices = [(each.precision, each.dimensions) for each in _by_bytes(found, target)]
        for precision, length in dict.fromkeys([*choices, ("int8", whole)]):
            assert precision != "float32"  # no choice
            settings = Settings(precision=precision, prefix=None if length == whole else length, target=target)
            index.info = dataclasses.replace(index.info, settings=settings)
            index.store.optimize(exact_below=exact_below, settings=settings)
            stats = index.store.stats()
            recall = None
            if stats.approximate and stats.rows:
                settings, recall = find_settings(index, seed=seed)
            if recall is None or recall >= target:
                break
            tell(f"{precision} of {length} dimensions: {recall:.3f} of the ten best in the approximate index itself")
        index.info = dataclasses.replace(index.info, settings=settings)
        index.store.use(settings)
        index.save()
    return Applied(settings, recall)


def _by_bytes(found: Sequence[SmallMeasurement], target: float) -> list[SmallMeasurement]:
    reach = [each for each in found if each.recall >= target and each.precision != "float32"]
    return sorted(reach, key=lambda each: (each.bytes, -each.recall))


def _bytes(length: int, precision: Measured) -> int:
    if precision == "binary":
        return -(-length // 8) + FACTORS
    return length if precision == "int8" else 4 * length


def _scan(item_NK: NDArray[np.float32], precision: Measured) -> Scan:
    if precision == "float32":
        return lambda query_K: item_NK @ query_K
    return _Levels(item_NK) if precision == "int8" else _Bits(item_NK)


class _Levels:
    """Products of a query with numbers of 8 bits, some rows at a time, so that their floats stay in the cache: numpy
    has no fast product of integers."""

    def __init__(self, item_NK: NDArray[np.float32]) -> None:
        self._level_NK, self._scale_N = levels(item_NK)

    def __call__(self, query_K: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = range(0, len(self._level_NK), ROWS_AT_ONCE)
        product = [self._level_NK[start : start + ROWS_AT_ONCE].astype(np.float32) @ query_K for start in parts]
        return np.concatenate(product) * self._scale_N


class _Bits:
    """Minus the bits that differ (Hamming), counted in words of 64."""

    def __init__(self, item_NK: NDArray[np.float32]) -> None:
        self._word_NW = _words(item_NK)

    def __call__(self, query_K: NDArray[np.float32]) -> NDArray[np.int32]:
        differ_N = np.bitwise_count(self._word_NW ^ _words(query_K[None])).sum(axis=1, dtype=np.int32)
        return np.asarray(-differ_N, np.int32)


def _words(vector_NK: NDArray[np.float32]) -> NDArray[np.uint64]:
    packed_NB = bits(vector_NK)
    return np.pad(packed_NB, ((0, 0), (0, -packed_NB.shape[1] % 8))).view(np.uint64)


def _best(score_N: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Places of the highest scores, best first."""
    pool = np.argpartition(-score_N, count - 1)[:count]
    return pool[np.argsort(-score_N[pool], kind="stable")]
