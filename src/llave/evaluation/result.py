"""What an evaluation yields: scores of every row, and the means that MMEB defines over them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from llave.encode.table import ItemTable
from llave.errors import DataError
from llave.evaluation.benchmarks.task import META_TASKS, MODALITIES, Modality, Split
from llave.evaluation.metrics import Ties, metric_table, metric_values
from llave.evaluation.statistics import bootstrap_ci95, bootstrap_means, interval95

__all__ = ["EvalResult", "Failure", "ItemError", "ScoredRow", "TaskResult", "group_members"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a data set has no score: it is not on this machine, the model does not take it, or it failed."""

    kind: Literal["absent", "unsupported", "failed"]
    reason: str


@dataclass(frozen=True, slots=True)
class ItemError:
    """An item that could not be embedded: the file of its picture or video (empty for a text) and the reason."""

    file: str
    message: str


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """A query against its candidates, the relevant ones first.

    Equal candidates are counted once, so there can be fewer than in the data.

    Args:
        row: number of the row in the data set, from 0.
        query: the query's number in the item table.
        candidates: (C,) numbers in the item table.
        scores: (C,) cosines, or MaxSim.
        ranks: (P,) ranks of the relevant candidates, from 1.
        gains: (P,) their relevance.
    """

    row: int
    query: int
    candidates: NDArray[np.int32]
    scores: NDArray[np.float32]
    ranks: NDArray[np.float64]
    gains: NDArray[np.float64]

    @property
    def correct(self) -> bool:
        """Whether a relevant candidate ranks first."""
        return bool(self.ranks.min() == 1)

    @property
    def predicted(self) -> int:
        """Index of the candidate that ranks first."""
        if self.correct:
            return int(self.ranks.argmin())
        return len(self.gains) + int(self.scores[len(self.gains) :].argmax())


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """A data set's scored rows, and what items that could not be embedded cost.

    ``skipped`` rows had no query, relevant or other candidate left; ``reduced`` ones were scored against fewer.
    ``content`` is a hash of what all rows hold, pictures and videos included.
    """

    name: str
    meta_task: str
    split: Split | None
    rows: Sequence[ScoredRow]
    skipped: int = 0
    reduced: int = 0
    modality: Modality = "image"
    metric: str = "hit@1"
    expected: int | None = None
    published_name: str = ""
    content: str = ""

    @property
    def leaderboard(self) -> str:
        """The leaderboard's name of the data set."""
        return self.published_name or self.name

    @property
    def queries(self) -> int:
        """Rows that were scored."""
        return len(self.rows)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(R,) whether a relevant candidate ranks first, per scored row."""
        return np.array([row.correct for row in self.rows], dtype=np.bool_)

    @property
    def p_at_1(self) -> float:
        """Share of scored rows with a relevant candidate first."""
        return float(self.correct.mean())

    def values(self, metric: str | None = None) -> NDArray[np.float64]:
        """(R,) a metric per scored row; by default the one that counts."""
        return metric_values(metric or self.metric, [row.ranks for row in self.rows], [row.gains for row in self.rows])

    @property
    def score(self) -> float:
        """Mean over rows of the metric that counts."""
        return float(self.values().mean())

    @property
    def ci95(self) -> tuple[float, float]:
        """95% bootstrap interval of the score over queries."""
        return bootstrap_ci95(self.values())

    def metrics(self) -> dict[str, float]:
        """Every metric at every cutoff, under the leaderboard's names."""
        table = metric_table([row.ranks for row in self.rows], [row.gains for row in self.rows])
        return {name: float(values.mean()) for name, values in table.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalResult:
    """All data sets of one evaluation of one model.

    Args:
        failed: data sets without a score.
        revisions: the hub's commit of each repository whose files were read, where it can be told.
        encoded: items that went through the model, of which ``cut`` have a text that is longer than it reads, and
            ``cut_sounds`` a sound that is longer than it hears.
        cached: items whose vectors a cache had.
        vectors: a hash of all vectors, bit for bit.
        notes: what was not done as the protocol says.
        phases: seconds of reading, encoding and scoring.
        late: of a late-interaction model, what a candidate's tokens take.
    """

    benchmark: str
    ties: Ties
    tasks: Mapping[str, TaskResult]
    items: ItemTable
    failed: Mapping[str, Failure] = field(default_factory=dict)
    revisions: Mapping[str, str] = field(default_factory=dict)
    errors: Sequence[ItemError] = ()
    seconds: float = 0.0
    encoded: int = 0
    cached: int = 0
    cut: int = 0
    vectors: str = ""
    notes: Sequence[str] = ()
    cut_sounds: int = 0
    compat: str = "strict"
    phases: Mapping[str, float] = field(default_factory=dict)
    late: Mapping[str, Any] | None = None

    def to_arrow(self) -> pa.Table:
        """A row for each data set: name, meta-task, split, modality, metric, score with 95% interval, queries."""
        rows = []
        for task in self.tasks.values():
            low, high = task.ci95
            about = {"meta_task": task.meta_task, "split": task.split, "modality": task.modality, "metric": task.metric}
            score = {"score": task.score, "ci95_low": low, "ci95_high": high}
            rows.append({"data_set": task.name, **about, **score, "queries": task.queries, "skipped": task.skipped})
        return pa.Table.from_pylist(rows)

    def to_pandas(self) -> Any:
        """The same as a data frame."""
        return self.to_arrow().to_pandas()

    def _repr_html_(self) -> str:
        """For a notebook: the mean, and every data set with its interval and queries."""
        cells = [
            (
                row["data_set"],
                row["metric"],
                f"{100 * row['score']:.1f}",
                f"{100 * row['ci95_low']:.1f} to {100 * row['ci95_high']:.1f}",
                f"{row['queries']:,}",
            )
            for row in self.to_arrow().to_pylist()
        ]
        head = "".join(f"<th>{name}</th>" for name in ("data set", "metric", "%", "95% interval", "queries"))
        rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in cells)
        title = f"{self.benchmark}: {100 * self.overall:.1f} % overall"
        return f"<b>{escape(title)}</b><table><tr>{head}</tr>{rows}</table>"

    @property
    def scores(self) -> dict[str, list[NDArray[np.float32]]]:
        """Cosines per data set and row; the relevant candidates come first."""
        return {name: [row.scores for row in task.rows] for name, task in self.tasks.items()}

    @property
    def metric(self) -> str:
        """The metric that counts, or all of them where data sets differ."""
        return ", ".join(dict.fromkeys(task.metric for task in self.tasks.values()))

    @property
    def skipped(self) -> int:
        """Rows that were not scored, over all data sets."""
        return sum(task.skipped for task in self.tasks.values())

    @property
    def reduced(self) -> int:
        """Rows that were scored against fewer candidates, over all data sets."""
        return sum(task.reduced for task in self.tasks.values())

    def members(self) -> dict[str, list[str]]:
        """Data sets of each group, see :func:`group_members`."""
        return group_members({name: (t.modality, t.meta_task, t.split) for name, t in self.tasks.items()})

    def groups(self) -> dict[str, float]:
        """Score per group: the plain mean over its data sets, whatever their sizes, as MMEB defines it."""
        score = {name: task.score for name, task in self.tasks.items()}
        return {group: float(np.mean([score[name] for name in names])) for group, names in self.members().items()}

    def group_intervals(self) -> dict[str, tuple[float, float]]:
        """95% bootstrap interval of each group's score: queries are drawn again within every data set."""
        draws = {name: bootstrap_means(task.values(), seed) for seed, (name, task) in enumerate(self.tasks.items())}
        return {
            group: interval95(np.mean([draws[name] for name in names], axis=0))
            for group, names in self.members().items()
        }

    @property
    def overall(self) -> float:
        """Plain mean of the scores over data sets."""
        return float(np.mean([task.score for task in self.tasks.values()]))

    @property
    def overall_with_zeros(self) -> float:
        """The same, where a data set that the model does not take counts as 0, as MMEB-V3's leaderboard has it."""
        zeros = sum(failure.kind == "unsupported" for failure in self.failed.values())
        return self.overall * len(self.tasks) / (len(self.tasks) + zeros)

    def complete(self) -> "EvalResult":
        """This result, if every data set has a score.

        Raises:
            DataError: one has none; the message names it.
        """
        for name, failure in self.failed.items():
            raise DataError(f"{name}: {failure.reason}")
        return self

    def incomparable(self) -> list[str]:
        """Why scores cannot be compared with published ones: other numbers of queries, data sets without a score."""
        return [f"{name}: no score ({failure.reason})" for name, failure in self.failed.items()] + [
            f"{task.name}: {task.queries:,} queries, the published benchmark has {task.expected:,}"
            for task in self.tasks.values()
            if task.expected is not None and task.queries != task.expected
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything but the rows; fractions between 0 and 1."""
        return {
            "benchmark": self.benchmark,
            "metric": "P@1" if self.metric == "hit@1" else self.metric,
            "compat": self.compat,
            "ties": self.ties,
            "overall": self.overall,
            "overall_with_zeros": self.overall_with_zeros,
            "failed": {name: {"kind": why.kind, "reason": why.reason} for name, why in self.failed.items()},
            "revisions": dict(self.revisions),
            "meta": self.groups(),
            "meta_ci95": {group: list(interval) for group, interval in self.group_intervals().items()},
            "datasets": {
                task.name: {
                    "metric": task.metric,
                    "score": task.score,
                    "p_at_1": task.p_at_1,
                    "queries": task.queries,
                    "skipped": task.skipped,
                    "reduced": task.reduced,
                    "ci95": list(task.ci95),
                    "ci95_over": "queries",
                    "meta": task.meta_task,
                    "split": task.split,
                    "modality": task.modality,
                    "content": task.content,
                    "metrics": task.metrics(),
                }
                for task in self.tasks.values()
            },
            "incomparable": self.incomparable(),
            "errors": [{"file": error.file, "message": error.message} for error in self.errors],
            "items": len(self.items),
            "encoded": self.encoded,
            "cached": self.cached,
            "vectors": self.vectors,
            "notes": list(self.notes),
            "texts_cut": self.cut,
            "sounds_cut": self.cut_sounds,
            "seconds": round(self.seconds, 3),
            **({} if self.late is None else {"late": dict(self.late)}),
        }


def group_members(about: Mapping[str, tuple[str, str, str | None]]) -> dict[str, list[str]]:
    """Data sets of each group.

    Of one modality: its meta-tasks and splits that occur, then ``overall``. Of several: each modality, then its
    meta-tasks as ``video/retrieval``, the splits, then ``overall``.

    Args:
        about: modality, meta-task and split of every data set.
    """

    def chosen(*, modality: str | None = None, meta: str | None = None, split: str | None = None) -> list[str]:
        return [
            name
            for name, (its_modality, its_meta, its_split) in about.items()
            if modality in (None, its_modality) and meta in (None, its_meta) and split in (None, its_split)
        ]

    several = len({modality for modality, _, _ in about.values()}) > 1
    groups: dict[str, list[str]] = {}
    for modality in MODALITIES:
        if several:
            groups[modality] = chosen(modality=modality)
        for meta in META_TASKS:
            groups[f"{modality}/{meta}" if several else meta] = [
                *groups.get(meta, []),
                *chosen(modality=modality, meta=meta),
            ]
    groups |= {split: chosen(split=split) for split in ("ind", "ood")}
    groups["overall"] = list(about)
    return {group: names for group, names in groups.items() if names}
