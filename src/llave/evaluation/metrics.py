"""Metrics and statistics as pure array functions.

R rows (queries), C candidates. A metric is a fraction between 0 and 1; an interval is at 95%.
"""

import itertools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Estimate",
    "Ties",
    "bootstrap_ci95",
    "mean_ci95",
    "overlap_coefficient",
    "paired_permutation_test",
    "precision_at_1",
    "smallest_p",
]

Ties = Literal["strict", "v1"]
"""What a negative that scores as high as the positive does: ``strict`` counts it against the model,
``v1`` lets the first index win, as the original MMEB evaluation does."""

MAX_EXACT = 16
"""Pairs up to which the sign-flip test visits every assignment (65,536 of them)."""


class Estimate(NamedTuple):
    """A mean and the half width of its 95% interval; None where one value gives no interval."""

    mean: float
    half_width: float | None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Lower and upper end, or None."""
        return None if self.half_width is None else (self.mean - self.half_width, self.mean + self.half_width)


def precision_at_1(scores: ArrayLike, positive: int = 0, ties: Ties = "strict") -> NDArray[np.bool_]:
    """Whether the positive ranks first, per row.

    A score that is not a number never counts for the model.

    Args:
        scores: (C,) for one row, or (R, C) with short rows padded by ``-inf``.
        positive: index of the positive candidate.
        ties: see :data:`Ties`.

    Returns:
        Booleans of shape () or (R,).
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim not in (1, 2) or table.shape[-1] == 0:
        raise ValueError(f"scores must be (C,) or (R, C) with at least one candidate, not {table.shape}")
    if ties not in ("strict", "v1"):
        raise ValueError(f"ties must be 'strict' or 'v1', not {ties!r}")
    of_positive = table[..., positive]
    if ties == "strict":
        first = (of_positive[..., None] > np.delete(table, positive, axis=-1)).all(axis=-1)
    else:
        first = table.argmax(axis=-1) == positive
    return np.asarray(first & ~np.isnan(of_positive))


def mean_ci95(values: ArrayLike) -> Estimate:
    """Mean of independent values (one per seed) with Student's t interval."""
    sample = _sample(values)
    if sample.size == 1:
        return Estimate(float(sample[0]), None)
    from scipy.stats import t

    error = sample.std(ddof=1) / np.sqrt(sample.size)
    return Estimate(float(sample.mean()), float(t.ppf(0.975, sample.size - 1) * error))


def bootstrap_ci95(correct: ArrayLike, seed: int = 0, resamples: int = 10_000) -> tuple[float, float]:
    """Percentile bootstrap interval of a proportion over queries.

    Resampling n booleans with replacement draws a binomial, so no resample is materialised. The interval
    has no width where all queries agree.
    """
    sample = _sample(correct)
    draws = np.random.default_rng(seed).binomial(sample.size, sample.mean(), resamples) / sample.size
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(low), float(high)


def paired_permutation_test(a: ArrayLike, b: ArrayLike, seed: int = 0) -> float:
    """Two-sided p value of the sign-flip test that paired values differ by nothing but chance.

    Exact for up to 16 pairs; beyond, 65,536 random flips. See :func:`smallest_p`.
    """
    difference = _sample(a) - _sample(b)
    if difference.size <= MAX_EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=difference.size)))
        extra = 0
    else:
        signs = np.random.default_rng(seed).choice((1.0, -1.0), size=(2**MAX_EXACT, difference.size))
        extra = 1  # the observed assignment belongs to the sample
    flipped = np.abs(signs @ difference)
    observed = abs(float(difference.sum()))
    at_least = np.count_nonzero(flipped >= observed - 1e-12 * max(1.0, observed))
    return float((at_least + extra) / (len(signs) + extra))


def smallest_p(pairs: int) -> float:
    """The smallest p value that the exact sign-flip test can give: 0.25 for 3 pairs, 0.031 for 6."""
    return min(1.0, 2.0 ** (1 - pairs))


def overlap_coefficient(a: ArrayLike, b: ArrayLike, bins: int = 40) -> float:
    """Shared area of two normalised histograms over their common range: 0 apart, 1 equal."""
    first, second = _sample(a), _sample(b)
    low, high = min(first.min(), second.min()), max(first.max(), second.max())
    if low == high:
        return 1.0
    share_a = np.histogram(first, bins, (low, high))[0] / first.size
    share_b = np.histogram(second, bins, (low, high))[0] / second.size
    return float(np.minimum(share_a, share_b).sum())


def _sample(values: ArrayLike | Sequence[Any]) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0:
        raise ValueError(f"expected a non-empty list of values, got shape {sample.shape}")
    return sample
