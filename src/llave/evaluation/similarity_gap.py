"""How far positives stand above hard and easy negatives (LLaVE, arXiv 2503.04812, Table 1)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llave.data.mmeb import RowItem
from llave.evaluation.result import EvalResult, ScoredRow, TaskResult
from llave.evaluation.statistics import overlap_coefficient

__all__ = ["Gap", "HardNegative", "hardest_negatives", "similarity_gap"]

NEGATIVES = 5
"""Hard negatives are a row's best 5 non-positive candidates, easy ones its worst 5."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Cosines of a data set: (R,) positives, and (R * 5,) hard and easy negatives.

    Rows with one negative only have neither; a data set of such rows has None for what depends on them.
    """

    positives: NDArray[np.float32]
    hards: NDArray[np.float32]
    easies: NDArray[np.float32]

    @property
    def positive(self) -> float:
        """Mean cosine of query and positive."""
        return float(self.positives.mean())

    @property
    def hard(self) -> float | None:
        """Mean cosine of query and hard negatives."""
        return float(self.hards.mean()) if self.hards.size else None

    @property
    def easy(self) -> float | None:
        """Mean cosine of query and easy negatives."""
        return float(self.easies.mean()) if self.easies.size else None

    @property
    def gap_hard(self) -> float | None:
        """Positive minus hard."""
        return None if self.hard is None else self.positive - self.hard

    @property
    def gap_easy(self) -> float | None:
        """Positive minus easy."""
        return None if self.easy is None else self.positive - self.easy

    @property
    def overlap(self) -> float | None:
        """Shared area of the positives' and the hard negatives' histograms."""
        return overlap_coefficient(self.positives, self.hards) if self.hards.size else None


@dataclass(frozen=True, slots=True)
class HardNegative:
    """A negative that scores high against a query; pictures and videos are file paths or None.

    ``rank`` is that of the best positive among so many ``candidates``.
    """

    row: int
    query: RowItem
    query_image: Path | None
    positive: RowItem
    positive_image: Path | None
    negative: RowItem
    negative_image: Path | None
    positive_score: float
    negative_score: float
    rank: float
    candidates: int


def similarity_gap(result: EvalResult) -> dict[str, Gap]:
    """The gap of every data set.

    Of fewer than 10 negatives at most half are hard and half are easy, so that none is both.
    """
    return {name: _gap(task) for name, task in result.tasks.items()}


def _gap(task: TaskResult) -> Gap:
    hards: list[NDArray[np.float32]] = []
    easies: list[NDArray[np.float32]] = []
    for row in task.rows:
        negatives = np.sort(row.scores[len(row.gains) :])
        count = min(NEGATIVES, len(negatives) // 2)
        hards.append(negatives[len(negatives) - count :])
        easies.append(negatives[:count])
    positives = np.array([_positive(row) for row in task.rows], dtype=np.float32)
    return Gap(positives, np.concatenate(hards), np.concatenate(easies))


def hardest_negatives(result: EvalResult, per_task: int = 12) -> dict[str, list[HardNegative]]:
    """Per data set, the best negatives of the rows where they stand highest above (or least below) the positive.

    A query appears once.
    """
    return {name: _hardest(result, task, per_task) for name, task in result.tasks.items()}


def _hardest(result: EvalResult, task: TaskResult, count: int) -> list[HardNegative]:
    rows = [row for row in task.rows if len(row.scores) > len(row.gains)]
    rows.sort(key=_margin)
    unique = {row.query: row for row in reversed(rows)}  # of equal queries the hardest row stays
    items = result.items
    found: list[HardNegative] = []
    for row in sorted(unique.values(), key=_margin)[:count]:
        place = int(row.scores[: len(row.gains)].argmax())
        hardest = len(row.gains) + int(row.scores[len(row.gains) :].argmax())
        positive, negative = int(row.candidates[place]), int(row.candidates[hardest])
        found.append(
            HardNegative(
                row=row.row,
                query=items.row_item(row.query),
                query_image=items.path(row.query),
                positive=items.row_item(positive),
                positive_image=items.path(positive),
                negative=items.row_item(negative),
                negative_image=items.path(negative),
                positive_score=float(row.scores[place]),
                negative_score=float(row.scores[hardest]),
                rank=float(row.ranks.min()),
                candidates=len(row.scores),
            )
        )
    return found


def _positive(row: ScoredRow) -> float:
    """Of several relevant candidates the best one counts."""
    return float(row.scores[: len(row.gains)].max())


def _margin(row: ScoredRow) -> float:
    return _positive(row) - float(row.scores[len(row.gains) :].max())
