"""Intervals, paired tests and overlap: what a difference between scores is worth.

An interval is at 95%.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Estimate",
    "bootstrap_ci95",
    "bootstrap_means",
    "interval95",
    "mean_ci95",
    "overlap_coefficient",
    "paired_permutation_test",
    "smallest_p",
]

MAX_EXACT = 16
"""Pairs up to which the sign-flip test visits every assignment (65,536 of them)."""
FEW_VALUES = 64
RESAMPLES = 10_000
BLOCK = 2**22
"""Random numbers held at a time."""


class Estimate(NamedTuple):
    """A mean and the half width of its 95% interval; None where one value gives no interval."""

    mean: float
    half_width: float | None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Lower and upper end, or None."""
        return None if self.half_width is None else (self.mean - self.half_width, self.mean + self.half_width)


def mean_ci95(values: ArrayLike) -> Estimate:
    """Mean of independent values (one per seed) with Student's t interval."""
    sample = _sample(values)
    if sample.size == 1:
        return Estimate(float(sample[0]), None)
    from scipy.stats import t

    error = sample.std(ddof=1) / np.sqrt(sample.size)
    return Estimate(float(sample.mean()), float(t.ppf(0.975, sample.size - 1) * error))


def bootstrap_means(values: ArrayLike, seed: int = 0, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Means (``resamples``,) of resamples of the values with replacement.

    Of values that take few levels (hits; differences of hits) only the levels' counts are drawn, which is the same
    distribution at a fraction of the cost.
    """
    sample = _sample(values)
    rng = np.random.default_rng(seed)
    levels, counts = np.unique(sample, return_counts=True)
    if len(levels) <= FEW_VALUES:
        drawn = rng.multinomial(sample.size, counts / sample.size, size=resamples)
        return np.asarray(drawn @ levels / sample.size, dtype=np.float64)
    block = max(1, BLOCK // sample.size)
    means = [
        sample[rng.integers(0, sample.size, (min(block, resamples - start), sample.size))].mean(axis=1)
        for start in range(0, resamples, block)
    ]
    return np.concatenate(means)


def interval95(draws: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95% of draws."""
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(low), float(high)


def bootstrap_ci95(values: ArrayLike, seed: int = 0, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean over queries. It has no width where all queries agree."""
    return interval95(bootstrap_means(values, seed, resamples))


def paired_permutation_test(a: ArrayLike, b: ArrayLike, seed: int = 0) -> float:
    """Two-sided p value of the sign-flip test that paired values differ by nothing but chance.

    Exact for up to 16 pairs that differ; beyond, 65,536 random flips. See :func:`smallest_p`.
    """
    difference = _sample(a) - _sample(b)
    difference = difference[difference != 0]
    if difference.size == 0:
        return 1.0
    observed = abs(float(difference.sum()))
    threshold = observed - 1e-12 * max(1.0, observed)
    if difference.size <= MAX_EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=difference.size)))
        return float(np.count_nonzero(np.abs(signs @ difference) >= threshold) / len(signs))
    rng = np.random.default_rng(seed)
    flips, block, at_least = 2**MAX_EXACT, max(1, BLOCK // difference.size), 0
    for start in range(0, flips, block):
        signs = 2.0 * rng.integers(0, 2, (min(block, flips - start), difference.size)) - 1.0
        at_least += int(np.count_nonzero(np.abs(signs @ difference) >= threshold))
    return float((at_least + 1) / (flips + 1))  # the observed assignment belongs to the sample


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
