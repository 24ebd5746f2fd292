"""What an evaluation yields: scores of every row, and the means that MMEB defines over them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llave.evaluation.benchmarks.task import META_TASKS, Split
from llave.evaluation.items import ItemError, ItemTable
from llave.evaluation.metrics import Ties, bootstrap_ci95

__all__ = ["GROUP_TITLES", "EvalResult", "ScoredRow", "TaskResult"]

GROUP_TITLES = {"vqa": "VQA", "ind": "in distribution", "ood": "out of distribution"}
"""Titles of groups where they differ from the group's name."""


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """A query against its own candidates; the positive is candidate 0.

    Equal candidates are counted once, so there can be fewer than in the data.

    Args:
        row: number of the row in the data set, from 0.
        query: the query's number in the item table.
        candidates: (C,) numbers in the item table.
        scores: (C,) cosines.
        correct: whether the positive ranks first.
    """

    row: int
    query: int
    candidates: NDArray[np.int32]
    scores: NDArray[np.float32]
    correct: bool

    @property
    def predicted(self) -> int:
        """Index of the candidate that ranks first; the best negative where the positive does not."""
        return 0 if self.correct else 1 + int(self.scores[1:].argmax())


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A data set's scored rows, and what items that could not be embedded cost.

    ``skipped`` rows had no query, positive or negative left; ``reduced`` ones were scored against fewer negatives.
    """

    name: str
    meta_task: str
    split: Split | None
    rows: Sequence[ScoredRow]
    skipped: int = 0
    reduced: int = 0

    @property
    def queries(self) -> int:
        """Rows that were scored."""
        return len(self.rows)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(R,) whether the positive ranks first, per scored row."""
        return np.array([row.correct for row in self.rows], dtype=np.bool_)

    @property
    def p_at_1(self) -> float:
        """Share of scored rows whose positive ranks first."""
        return float(self.correct.mean())

    @property
    def ci95(self) -> tuple[float, float]:
        """95% bootstrap interval of P@1 over queries."""
        return bootstrap_ci95(self.correct)


@dataclass(frozen=True, slots=True)
class EvalResult:
    """All data sets of one evaluation of one model."""

    benchmark: str
    ties: Ties
    tasks: Mapping[str, TaskResult]
    items: ItemTable
    errors: Sequence[ItemError] = ()
    seconds: float = 0.0
    encoded: int = field(default=0)

    @property
    def scores(self) -> dict[str, list[NDArray[np.float32]]]:
        """Cosines per data set and row; candidate 0 is the positive."""
        return {name: [row.scores for row in task.rows] for name, task in self.tasks.items()}

    @property
    def skipped(self) -> int:
        """Rows that were not scored, over all data sets."""
        return sum(task.skipped for task in self.tasks.values())

    @property
    def reduced(self) -> int:
        """Rows that were scored against fewer negatives, over all data sets."""
        return sum(task.reduced for task in self.tasks.values())

    def members(self) -> dict[str, list[str]]:
        """Data sets of each group: the meta-tasks and splits that occur, then ``overall``."""
        groups = {
            **{meta: [t.name for t in self.tasks.values() if t.meta_task == meta] for meta in META_TASKS},
            **{split: [t.name for t in self.tasks.values() if t.split == split] for split in ("ind", "ood")},
            "overall": list(self.tasks),
        }
        return {group: names for group, names in groups.items() if names}

    def groups(self) -> dict[str, float]:
        """P@1 per group: the plain mean over its data sets, whatever their sizes, as MMEB defines it."""
        return {
            group: float(np.mean([self.tasks[name].p_at_1 for name in names]))
            for group, names in self.members().items()
        }

    @property
    def overall(self) -> float:
        """Plain mean of P@1 over data sets."""
        return self.groups()["overall"]

    def to_json(self) -> dict[str, Any]:
        """Everything but the rows; fractions between 0 and 1."""
        return {
            "benchmark": self.benchmark,
            "metric": "P@1",
            "ties": self.ties,
            "overall": self.overall,
            "meta": self.groups(),
            "datasets": {
                task.name: {
                    "p_at_1": task.p_at_1,
                    "queries": task.queries,
                    "skipped": task.skipped,
                    "reduced": task.reduced,
                    "ci95": list(task.ci95),
                    "ci95_over": "queries",
                    "meta": task.meta_task,
                    "split": task.split,
                }
                for task in self.tasks.values()
            },
            "errors": [{"file": error.file, "message": error.message} for error in self.errors],
            "items": len(self.items),
            "encoded": self.encoded,
            "seconds": round(self.seconds, 3),
        }

    def to_markdown(self) -> str:
        """Two tables: data sets, and groups. Percentages."""
        lines = [f"# {self.benchmark}: P@1", ""]
        lines += ["| data set | meta-task | split | P@1 % | 95% interval | queries | skipped |"]
        lines += ["|---|---|---|---:|---:|---:|---:|"]
        for task in self.tasks.values():
            low, high = task.ci95
            lines.append(
                f"| {_cell(task.name)} | {task.meta_task} | {task.split} | {100 * task.p_at_1:.1f} "
                f"| {100 * low:.1f} to {100 * high:.1f} | {task.queries} | {task.skipped} |"
            )
        lines += ["", "| group | data sets | P@1 % |", "|---|---:|---:|"]
        members = self.members()
        for group, value in self.groups().items():
            lines.append(f"| {GROUP_TITLES.get(group, group)} | {len(members[group])} | {100 * value:.1f} |")
        lines += ["", f"Ties: {self.ties}. Intervals: bootstrap over queries. Groups: plain mean over data sets."]
        if self.errors:
            cost = f"{self.skipped} rows were skipped, {self.reduced} scored with fewer negatives"
            lines += ["", f"{len(self.errors)} items could not be embedded; {cost}:", ""]
            lines += [f"- {_cell(error.file)}: {_cell(error.message)}" for error in self.errors]
        return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
