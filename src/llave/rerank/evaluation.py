"""A second stage on an evaluation: the first stage's best candidates of every query, ordered anew by a reranker.

Nothing of the first stage is computed again or changed. What the reranker does not see keeps its place behind what it
sees, and so does a pair that it refuses.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llave.encode.forward import Refused
from llave.errors import UserError
from llave.evaluation.metrics import Ties, metric_table, metric_values, relevant_ranks
from llave.evaluation.result import EvalResult, ScoredRow, TaskResult
from llave.evaluation.statistics import bootstrap_ci95
from llave.progress import show_progress
from llave.rerank.reranker import Reranker

__all__ = ["WEIGHTS", "Hurt", "RerankResult", "RerankedRow", "RerankedTask", "rerank_result", "shortlist"]

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Of the reranker beside the first stage, for which scores are given too: mixing what is scored costs nothing."""
BLOCK_QUERIES = 32
"""Whose pairs are planned together."""


@dataclass(frozen=True, slots=True)
class RerankedRow:
    """A query after its second stage.

    Args:
        row: of the first stage.
        places: (K,) which of its candidates were reranked, the first stage's best first.
        scores: (K,) the reranker's, NaN where it refused the pair.
        ranks: (P,) ranks of the relevant candidates, from 1.
        best: place of the candidate that ranks first.
    """

    row: ScoredRow
    places: NDArray[np.int64]
    scores: NDArray[np.float64]
    ranks: NDArray[np.float64]
    best: int


@dataclass(frozen=True, slots=True)
class Hurt:
    """A query whose best relevant candidate fell: its rank before and after, and what stands first now, as item
    numbers."""

    row: int
    query: int
    relevant: int
    before: int
    after: int
    first: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankedTask:
    """A data set's rows after the second stage.

    Args:
        refused: pairs that the reranker could not score.
        seconds: that the reranker took, loading included.
        cpu_seconds: of all cores, which another process on the machine does not lengthen.
        by_weight: score of the metric that counts by the reranker's weight beside the first stage.
    """

    task: TaskResult
    rows: Sequence[RerankedRow]
    refused: int
    seconds: float
    cpu_seconds: float
    by_weight: dict[float, float]

    def values(self) -> NDArray[np.float64]:
        """(R,) the metric that counts, per row."""
        return metric_values(self.task.metric, [row.ranks for row in self.rows], [row.row.gains for row in self.rows])

    @property
    def helped(self) -> int:
        """Queries whose first candidate is relevant now and was not."""
        return sum(bool(row.ranks.min() == 1) and not row.row.correct for row in self.rows)

    @property
    def hurt(self) -> int:
        """Queries whose first candidate was relevant and is not now."""
        return sum(bool(row.ranks.min() > 1) and row.row.correct for row in self.rows)

    def worst(self, most: int) -> list[Hurt]:
        """The queries whose best relevant candidate fell furthest, those that were right at first before others."""
        found = [
            Hurt(
                row=each.row.row,
                query=each.row.query,
                relevant=int(each.row.candidates[int(each.ranks.argmin())]),
                before=int(each.row.ranks.min()),
                after=int(each.ranks.min()),
                first=int(each.row.candidates[each.best]),
            )
            for each in self.rows
            if np.isfinite(each.ranks.min()) and each.ranks.min() > each.row.ranks.min()
        ]
        return sorted(found, key=lambda hurt: (hurt.before > 1, hurt.before - hurt.after, hurt.row))[:most]

    def to_json(self) -> dict[str, Any]:
        """Scores before and after, their difference with a 95% interval over queries, cost; fractions from 0 to 1."""
        before, after = self.task.values(), self.values()
        ranks, gains = [row.ranks for row in self.rows], [row.row.gains for row in self.rows]
        queries = len(self.rows)
        return {
            "metric": self.task.metric,
            "queries": queries,
            "before": self.task.score,
            "after": float(after.mean()),
            "difference": float((after - before).mean()),
            "difference_ci95": list(bootstrap_ci95(after - before)),
            "helped": self.helped,
            "hurt": self.hurt,
            "in_reach": float(np.mean([row.row.ranks.min() <= len(row.places) for row in self.rows])),
            "refused": self.refused,
            "pairs": sum(len(row.places) for row in self.rows),
            "ms_per_query": 1000 * self.seconds / queries,
            "cpu_ms_per_query": 1000 * self.cpu_seconds / queries,
            "by_weight": {f"{weight:g}": score for weight, score in self.by_weight.items()},
            "metrics": {name: float(values.mean()) for name, values in metric_table(ranks, gains).items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankResult:
    """The second stage of an evaluation.

    Args:
        result: the first stage's.
        reranker: its name.
        top: candidates of each query that it saw.
        weight: of its scores beside the first stage's; 1 is the reranker alone.
        reasons: why pairs were refused, each once.
    """

    result: EvalResult
    reranker: str
    top: int
    weight: float
    tasks: dict[str, RerankedTask]
    reasons: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """What ``results.json`` has under ``rerank``."""
        return {
            "reranker": self.reranker,
            "top": self.top,
            "weight": self.weight,
            "before": float(np.mean([task.task.score for task in self.tasks.values()])),
            "after": float(np.mean([task.values().mean() for task in self.tasks.values()])),
            "datasets": {name: task.to_json() for name, task in self.tasks.items()},
            "reasons": list(self.reasons),
        }


def rerank_result(
    result: EvalResult, reranker: Reranker, *, top: int = 50, weight: float = 1.0, progress: bool = True
) -> RerankResult:
    """Order the best candidates of every query anew.

    Args:
        result: of the first stage.
        top: candidates of each query that the reranker sees.
        weight: of its score beside the first stage's cosine, both standardised over the query's candidates; 1 is the
            reranker alone. Measure it on other data than those that are reported.
        progress: show a bar on stderr.

    Raises:
        UserError: ``top`` or ``weight`` out of range, or a reranker that refuses one pair after the other.
    """
    if top < 1:
        raise UserError(f"top must be at least 1, got {top}")
    if not 0 <= weight <= 1:
        raise UserError(f"rerank_weight must be from 0 to 1, got {weight}")
    tasks = {}
    reasons: dict[str, None] = {}
    items: dict[int, Any] = {}  # one object for each item, so that it is decoded once
    with show_progress(progress) as work:
        for name, task in result.tasks.items():
            chosen = [shortlist(row, top) for row in task.rows]
            work.stage(f"rerank {name}", sum(map(len, chosen)), unit="pairs")
            started, cpu = time.perf_counter(), time.process_time()
            scores: list[NDArray[np.float64]] = []
            for start in range(0, len(task.rows), BLOCK_QUERIES):
                rows, places = task.rows[start : start + BLOCK_QUERIES], chosen[start : start + BLOCK_QUERIES]
                numbers = [
                    (row.query, int(row.candidates[p])) for row, own in zip(rows, places, strict=True) for p in own
                ]
                for number in {number for pair in numbers for number in pair} - set(items):
                    items[number] = result.items.item(number)
                found = reranker.pairs([(items[query], items[other]) for query, other in numbers], advance=work.advance)
                reasons |= dict.fromkeys(str(score) for score in found if isinstance(score, Refused))
                flat = np.array([np.nan if isinstance(score, Refused) else score for score in found])
                scores += np.split(flat, np.cumsum([len(own) for own in places])[:-1])
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
            listed = list(zip(task.rows, chosen, scores, strict=True))
            ranked = [_reranked(row, places, found, weight, result.ties) for row, places, found in listed]
            tasks[name] = RerankedTask(
                task=task,
                rows=ranked,
                refused=int(sum(np.isnan(found).sum() for found in scores)),
                seconds=seconds,
                cpu_seconds=cpu,
                by_weight={
                    one: _mean(task, [_reranked(row, places, found, one, result.ties) for row, places, found in listed])
                    for one in WEIGHTS
                },
            )
    return RerankResult(
        result=result, reranker=reranker.name, top=top, weight=weight, tasks=tasks, reasons=list(reasons)
    )


def shortlist(row: ScoredRow, top: int) -> NDArray[np.int64]:
    """Places of a query's ``top`` best candidates, best first; of equal ones a relevant one comes last."""
    relevant = np.arange(len(row.scores)) < len(row.gains)
    return np.lexsort((relevant, -row.scores))[:top].astype(np.int64)


def _reranked(
    row: ScoredRow, places: NDArray[np.int64], scores: NDArray[np.float64], weight: float, ties: Ties
) -> RerankedRow:
    good = ~np.isnan(scores)
    mixed = weight * _standard(scores[good]) + (1 - weight) * _standard(row.scores[places[good]].astype(np.float64))
    if weight == 1:
        mixed = scores[good]
    order = np.empty(len(row.scores))
    order[:] = row.scores  # cosines, from -1 to 1: behind everything that has a place from 2 on
    order[places[good]] = 2.0 + np.unique(mixed, return_inverse=True)[1]
    ranks = relevant_ranks(order, row.gains, ties)
    best = int(ranks.argmin()) if ranks.min() == 1 else len(row.gains) + int(order[len(row.gains) :].argmax())
    return RerankedRow(row, places, scores, ranks, best)


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """With mean 0 and deviation 1; zeros where all are equal."""
    if not len(values):
        return values
    deviation = values.std()
    centred: NDArray[np.float64] = values - values.mean()
    return centred / deviation if deviation > 0 else centred


def _mean(task: TaskResult, rows: Sequence[RerankedRow]) -> float:
    values = metric_values(task.metric, [row.ranks for row in rows], [row.row.gains for row in rows])
    return float(values.mean())
