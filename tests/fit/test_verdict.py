"""The paired verdict, on results written by hand."""

import numpy as np
import pytest

from llave.encode.table import ItemTable
from llave.evaluation.result import EvalResult, ScoredRow, TaskResult
from llave.fit.verdict import Verdict, judge


def result(**hits: list[int]) -> EvalResult:
    """Queries of each data set that were right (1) or wrong (0)."""
    tasks = {}
    for name, of_task in hits.items():
        rows = [
            ScoredRow(
                number, number, np.arange(2, dtype=np.int32), np.zeros(2, np.float32), np.array([2.0 - hit]), np.ones(1)
            )
            for number, hit in enumerate(of_task)
        ]
        tasks[name] = TaskResult(name=name, meta_task="retrieval", split=None, rows=rows)
    return EvalResult(benchmark="made", ties="strict", tasks=tasks, items=ItemTable())


def verdict(before: list[int], after: list[int]) -> Verdict:
    """Of one direction in which every query stands alone."""
    return judge(result(there=before), result(there=after), {"there": list(range(len(before)))})


def test_better() -> None:
    found = verdict([0] * 30 + [1] * 10, [1] * 20 + [0] * 10 + [1] * 10)
    assert found.word == "better"
    assert found.overall.difference == pytest.approx(0.5)
    assert (found.overall.won, found.overall.lost, found.overall.queries) == (20, 0, 40)
    low, high = found.overall.ci95
    assert 0.3 < low < 0.5 < high < 0.7
    assert found.line().startswith("better; P@1 25.0% before, 75.0% after, +50.0 points (95% interval +3")
    assert found.line().endswith("p < 0.001); 40 queries that training has not seen")


def test_worse_and_undecided() -> None:
    assert verdict([1] * 40, [0] * 20 + [1] * 20).word == "worse"
    assert verdict([1] * 40, [0] * 20 + [1] * 20).line().startswith("worse: keep the start model; P@1 100.0% before")
    same = verdict([1, 0] * 20, [1, 0] * 20)
    assert (same.word, same.overall.p, same.overall.ci95) == ("undecided", 1.0, (0.0, 0.0))
    assert verdict([0] * 10 + [1] * 10, [1] * 3 + [0] * 7 + [1] * 9 + [0]).word == "undecided"


def test_two_directions_of_a_pair_are_one_witness() -> None:
    """The same differences in both directions say as much as in one."""
    before, after = [0] * 6 + [1] * 14, [1] * 5 + [0] + [1] * 14
    one = verdict(before, after)
    groups = list(range(20))
    both = judge(result(there=before, back=before), result(there=after, back=after), {"there": groups, "back": groups})
    assert both.groups == 20
    assert both.overall.queries == 40
    assert both.overall.difference == pytest.approx(one.overall.difference)
    assert both.overall.p == one.overall.p == 2**-4
    assert both.overall.ci95 == pytest.approx(one.overall.ci95)
    assert both.word == one.word == "undecided"  # the interval alone would say better
    assert both.overall.ci95[0] > 0
    apart = judge(
        result(there=before, back=before),
        result(there=after, back=after),
        {"there": groups, "back": [20 + n for n in groups]},
    )
    assert apart.word == "better"


def test_the_mean_is_over_directions_whatever_their_sizes() -> None:
    """Five captions of each picture: as many queries one way, a fifth the other."""
    before = result(there=[0] * 50, back=[0] * 10)
    after = result(there=[1] * 50, back=[0] * 10)
    groups = {"there": [n // 5 for n in range(50)], "back": list(range(10))}
    found = judge(before, after, groups)
    assert found.overall.difference == pytest.approx(0.5)
    assert found.overall.ci95 == pytest.approx((0.5, 0.5))
    assert found.groups == 10


def test_queries_that_only_one_has_scored_do_not_count() -> None:
    before, after = result(there=[0, 1, 1]), result(there=[1, 1, 0])
    after.tasks["there"].rows.pop()  # type: ignore[attr-defined]
    assert judge(before, after, {"there": list(range(3))}).overall.queries == 2
