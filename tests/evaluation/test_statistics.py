"""Intervals and tests on hand-written values."""

import numpy as np
import pytest

from llave.evaluation.statistics import (
    bootstrap_ci95,
    bootstrap_means,
    mean_ci95,
    overlap_coefficient,
    paired_permutation_test,
    smallest_p,
)


def test_mean_ci95_against_the_table_of_t() -> None:
    estimate = mean_ci95([1.0, 2.0, 3.0])
    assert estimate.mean == pytest.approx(2.0)
    assert estimate.half_width == pytest.approx(4.302653 * 1.0 / np.sqrt(3), rel=1e-6)  # t(0.975, 2 degrees)
    assert mean_ci95([0.4]) == (0.4, None)
    assert mean_ci95([0.4]).interval is None
    with pytest.raises(ValueError, match="non-empty"):
        mean_ci95([])


def test_bootstrap_ci95_is_near_the_normal_interval_and_repeatable() -> None:
    correct = np.arange(1000) % 4 == 0
    low, high = bootstrap_ci95(correct)
    half = 1.96 * np.sqrt(0.25 * 0.75 / 1000)
    assert (low, high) == (pytest.approx(0.25 - half, abs=0.003), pytest.approx(0.25 + half, abs=0.003))
    assert bootstrap_ci95(correct) == (low, high)
    assert bootstrap_ci95([True, True]) == (1.0, 1.0)


def test_paired_permutation_test_counts_sign_flips() -> None:
    assert paired_permutation_test([1, 2, 3], [0, 0, 0]) == 2 / 8  # only +++ and --- reach 6
    assert paired_permutation_test([3, 0], [0, 1]) == 1.0  # |3 - 1| = 2 is the smaller of the two possible sums
    assert paired_permutation_test([0.3, 0.4], [0.3, 0.4]) == 1.0
    assert paired_permutation_test([1, 2, -1], [0, 0, 0]) == 6 / 8  # |sum| >= 2 but for two of the eight
    assert paired_permutation_test(np.ones(6), np.zeros(6)) == smallest_p(6) == 2 / 64
    assert paired_permutation_test(np.ones(20), np.zeros(20)) < 1e-3
    assert (smallest_p(1), smallest_p(3)) == (1.0, 0.25)


def test_overlap_coefficient() -> None:
    assert overlap_coefficient([0.1, 0.2], [0.8, 0.9]) == 0.0
    assert overlap_coefficient([0.1, 0.5, 0.9], [0.9, 0.1, 0.5]) == pytest.approx(1.0)
    assert overlap_coefficient([0.0, 1.0], [0.0, 0.5]) == pytest.approx(0.5)
    assert overlap_coefficient([0.3, 0.3], [0.3]) == 1.0


def test_bootstrap_of_few_levels_has_the_distribution_of_a_plain_bootstrap() -> None:
    values = np.random.default_rng(3).choice([-1.0, 0.0, 0.5, 1.0], 400)
    quick = bootstrap_means(values, seed=1, resamples=20_000)
    rng = np.random.default_rng(2)
    plain = np.array([values[rng.integers(0, 400, 400)].mean() for _ in range(20_000)])
    np.testing.assert_allclose(
        np.quantile(quick, [0.025, 0.5, 0.975]), np.quantile(plain, [0.025, 0.5, 0.975]), atol=0.005
    )
    continuous = np.random.default_rng(4).normal(size=300)
    low, high = bootstrap_ci95(continuous)
    half = 1.96 * continuous.std() / np.sqrt(300)
    assert (low, high) == (
        pytest.approx(continuous.mean() - half, abs=0.01),
        pytest.approx(continuous.mean() + half, abs=0.01),
    )


def test_sign_flips_of_many_pairs_are_near_the_exact_test() -> None:
    from scipy.stats import binomtest

    difference = np.array([1.0] * 30 + [-1.0] * 14 + [0.0] * 900)
    exact = binomtest(30, 44).pvalue
    assert paired_permutation_test(difference, np.zeros(944)) == pytest.approx(exact, abs=0.004)
