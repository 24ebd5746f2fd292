"""Gaps and hardest negatives on hand-written scores."""

from collections.abc import Callable

import pytest

from llave.evaluation.result import EvalResult
from llave.evaluation.similarity_gap import hardest_negatives, similarity_gap

MakeResult = Callable[..., EvalResult]


def test_five_hardest_and_five_easiest(make_result: MakeResult) -> None:
    negatives = [0.0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
    gap = similarity_gap(make_result({"a": ("vqa", "ind", [[0.92, *negatives]])}))["a"]
    assert gap.positive == pytest.approx(0.92)
    assert gap.hard == pytest.approx((0.6 + 0.7 + 0.8 + 0.9 + 0.95) / 5)
    assert gap.easy == pytest.approx((0.0 + 0.1 + 0.2 + 0.3 + 0.4) / 5)
    assert gap.gap_hard == pytest.approx(0.92 - 0.79)
    assert gap.gap_easy == pytest.approx(0.92 - 0.2)


def test_of_few_negatives_none_is_both_hard_and_easy(make_result: MakeResult) -> None:
    gap = similarity_gap(make_result({"a": ("vqa", "ind", [[0.9, 0.1, 0.5, 0.7]])}))["a"]
    assert gap.hards.tolist() == pytest.approx([0.7])
    assert gap.easies.tolist() == pytest.approx([0.1])


def test_one_negative_has_no_kind(make_result: MakeResult) -> None:
    gap = similarity_gap(make_result({"yesno": ("vqa", "ind", [[0.9, 0.1], [0.2, 0.8]])}))["yesno"]
    assert gap.positive == pytest.approx(0.55)
    assert (gap.hard, gap.easy, gap.gap_hard, gap.overlap) == (None, None, None, None)


def test_overlap_sees_only_positives_and_hard(make_result: MakeResult) -> None:
    apart = [[0.9, 0.1, 0.2, 0.3, 0.4], [0.8, 0.1, 0.2, 0.3, 0.4]]
    mixed = [[0.3, 0.1, 0.2, 0.3, 0.4], [0.4, 0.1, 0.2, 0.3, 0.4]]
    gaps = similarity_gap(make_result({"apart": ("vqa", "ind", apart), "mixed": ("vqa", "ind", mixed)}))
    assert gaps["apart"].overlap == 0.0
    assert gaps["mixed"].overlap == pytest.approx(1.0)


def test_hardest_negatives_are_ordered_and_cut(make_result: MakeResult) -> None:
    matrix = [[0.9, 0.5, 0.1], [0.3, 0.2, 0.8], [0.6, 0.7, 0.1], [0.4]]
    found = hardest_negatives(make_result({"a": ("vqa", "ind", matrix)}), per_task=2)["a"]
    assert [entry.row for entry in found] == [1, 2]
    assert found[0].negative.text == "a candidate 2"
    assert found[0].positive.text == "a candidate 0"
    assert found[0].query.text == "a query 1"
    assert (found[0].positive_score, found[0].negative_score) == pytest.approx((0.3, 0.8))
