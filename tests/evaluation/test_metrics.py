"""Metrics on hand-written scores."""

import numpy as np
import pytest

from llave.evaluation.metrics import (
    bootstrap_ci95,
    mean_ci95,
    overlap_coefficient,
    paired_permutation_test,
    precision_at_1,
    smallest_p,
)

INF = float("inf")
NAN = float("nan")


@pytest.mark.parametrize(
    ("row", "strict", "v1"),
    [
        ([0.9, 0.1, 0.2], True, True),
        ([0.1, 0.9, 0.2], False, False),
        ([0.5, 0.5, 0.2], False, True),  # a tie
        ([0.5, 0.2, 0.5], False, True),
        ([0.0, 0.0, 0.0], False, True),  # a collapsed model
        ([0.3], True, True),
        ([0.3, -INF, -INF], True, True),  # padding
        ([NAN, 0.1, 0.2], False, False),
        ([0.5, NAN, 0.2], False, False),
        ([NAN], False, False),
    ],
)
def test_precision_at_1_of_a_row(row: list[float], strict: bool, v1: bool) -> None:
    assert bool(precision_at_1(row)) is strict
    assert bool(precision_at_1(row, ties="v1")) is v1


def test_precision_at_1_of_padded_rows_and_another_positive() -> None:
    scores = [[0.9, 0.8, -INF], [0.2, 0.3, 0.1], [0.4, 0.4, 0.4]]
    assert precision_at_1(scores).tolist() == [True, False, False]
    assert precision_at_1(scores, positive=1).tolist() == [False, True, False]
    assert precision_at_1(scores, positive=0, ties="v1").tolist() == [True, False, True]
    assert precision_at_1(scores, positive=1, ties="v1").tolist() == [False, True, False]  # the first index wins


def test_precision_at_1_refuses_what_it_cannot_rank() -> None:
    with pytest.raises(ValueError, match="at least one candidate"):
        precision_at_1([])
    with pytest.raises(ValueError, match="ties"):
        precision_at_1([0.1], ties="lenient")  # type: ignore[arg-type]


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
