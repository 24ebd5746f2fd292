"""Whether the trained model is better than the one it began as: the same queries, one by one, before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llave.evaluation.compare import Difference, paired_difference
from llave.evaluation.result import EvalResult, TaskResult
from llave.evaluation.statistics import bootstrap_ci95, bootstrap_means, paired_permutation_test

__all__ = ["Verdict", "judge"]

SURE = 0.05


@dataclass(frozen=True, slots=True)
class Verdict:
    """Scores before (``a``) and after (``b``) of every data set, and of their mean.

    Args:
        overall: the mean over the data sets. Its interval and p are over groups of queries that share content: the two
            directions of a pair are not two witnesses.
        groups: how many of them there are.
        interval_before, interval_after: at 95%, of each data set.
    """

    datasets: list[Difference]
    overall: Difference
    groups: int
    interval_before: Mapping[str, tuple[float, float]]
    interval_after: Mapping[str, tuple[float, float]]

    @property
    def word(self) -> str:
        """``better``, ``worse`` or ``undecided``: the interval and the test must agree."""
        low, high = self.overall.ci95
        sure = self.overall.p is not None and self.overall.p < SURE
        if sure and low > 0:
            return "better"
        return "worse" if sure and high < 0 else "undecided"

    def line(self) -> str:
        """In one line."""
        each, (low, high) = self.overall, self.overall.ci95
        interval = f"95% interval {100 * low:+.1f} to {100 * high:+.1f}, p {_p(each.p)}"
        by = f"{100 * each.difference:+.1f} points ({interval})"
        said = {
            "better": "better",
            "worse": "worse: keep the start model",
            "undecided": "undecided: no difference that chance does not explain",
        }[self.word]
        scores = f"P@1 {100 * each.a:.1f}% before, {100 * each.b:.1f}% after"
        return f"{said}; {scores}, {by}; {each.queries:,} queries that training has not seen"

    def to_json(self) -> dict[str, Any]:
        """Everything; fractions between 0 and 1."""
        return {
            "verdict": self.word,
            "overall": asdict(self.overall),
            "groups": self.groups,
            "datasets": [
                {
                    **asdict(each),
                    "a_ci95": self.interval_before[each.name],
                    "b_ci95": self.interval_after[each.name],
                }
                for each in self.datasets
            ],
        }


def judge(before: EvalResult, after: EvalResult, groups: Mapping[str, Sequence[int]]) -> Verdict:
    """Compare two evaluations of one benchmark.

    Args:
        groups: by data set, the group of every row of its table: rows of equal numbers share content.
    """
    differences: list[Difference] = []
    sums: dict[int, float] = {}
    for name, task in before.tasks.items():
        value_a, value_b, rows = _paired(task, after.tasks[name])
        difference = value_b - value_a
        for row, each in zip(rows, difference.tolist(), strict=True):
            group = groups[name][row]
            sums[group] = sums.get(group, 0.0) + each / (len(rows) * len(before.tasks))
        differences.append(paired_difference(name, value_a, value_b, bootstrap_means(difference)))
    # What each group adds to the mean difference, scaled so that the mean of these is that difference.
    share_G = np.array(list(sums.values())) * len(sums)
    overall = Difference(
        name="overall",
        a=float(np.mean([each.a for each in differences])),
        b=float(np.mean([each.b for each in differences])),
        difference=float(np.mean([each.difference for each in differences])),
        ci95=bootstrap_ci95(share_G),
        p=paired_permutation_test(share_G, np.zeros_like(share_G)),
        queries=sum(each.queries for each in differences),
        won=sum(each.won for each in differences),
        lost=sum(each.lost for each in differences),
    )
    intervals = [{name: task.ci95 for name, task in result.tasks.items()} for result in (before, after)]
    return Verdict(differences, overall, len(sums), *intervals)


def _paired(a: TaskResult, b: TaskResult) -> tuple[NDArray[np.float64], NDArray[np.float64], list[int]]:
    """Values (R,) of both, and the numbers of the rows that both have scored."""
    of_a = dict(zip((row.row for row in a.rows), a.values().tolist(), strict=True))
    of_b = dict(zip((row.row for row in b.rows), b.values().tolist(), strict=True))
    rows = sorted(set(of_a) & set(of_b))
    return np.array([of_a[row] for row in rows]), np.array([of_b[row] for row in rows]), rows


def _p(value: float | None) -> str:
    return "unknown" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
