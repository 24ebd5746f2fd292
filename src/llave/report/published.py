"""Scores that papers, boards and authors published, and where an evaluation may be set beside them.

They are others' figures: whatever shows one says "published" and its source.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from llave.evaluation.benchmarks import NAMES, get_spec
from llave.evaluation.result import EvalResult, group_members

__all__ = ["PublishedRow", "not_comparable", "published_groups", "published_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """What was published of a model; fractions between 0 and 1.

    Args:
        model: its name.
        source: a paper's table, a board, or "self-reported"; "source not recorded" where we noted none.
        groups: scores by group, named as in :meth:`EvalResult.groups`.
        datasets: scores by metric and data set.
        note: what a reader must know of these figures.
    """

    model: str
    source: str
    groups: Mapping[str, float] = field(default_factory=dict)
    datasets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    note: str = ""


def published_rows(benchmark: str) -> list[PublishedRow]:
    """What was published of a benchmark; nothing for one that does not come with llave."""
    about = _table().get(benchmark, {})
    return [_row(row, about.get("groups", [])) for row in about.get("rows", [])]


def published_groups(result: EvalResult) -> dict[str, str]:
    """Groups of an evaluation that cover a whole group of the published benchmark, and that one's name.

    A part of a benchmark is not the benchmark: ``--tasks UCF101`` has no group in it, and of ``mmeb-v2 --tasks video``
    the overall score is the published ``video``.
    """
    if result.benchmark not in NAMES:
        return {}
    about = {task.name: (task.modality, task.meta, task.split) for task in get_spec(result.benchmark).tasks}
    whole = {frozenset(names): group for group, names in group_members(about).items()}
    members = {group: frozenset(names) for group, names in result.members().items()}
    return {group: whole[names] for group, names in members.items() if names in whole}


def not_comparable(result: EvalResult) -> list[str]:
    """Why an evaluation is not measured as the published scores are."""
    reasons = []
    if result.compat == "strict":
        reasons.append("scored as strict does; --compat llave and vlm2vec match the scorers behind published figures")
    if result.skipped or result.reduced:
        reasons.append(f"{result.skipped:,} rows skipped, {result.reduced:,} scored against fewer candidates")
    return reasons + result.incomparable()


@cache
def _table() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((files(__package__) / "published.yaml").read_text("utf-8"))
    return content


def _row(row: Mapping[str, Any], groups: list[str]) -> PublishedRow:
    scores = zip(groups, row["scores"], strict=True) if "scores" in row else ()
    return PublishedRow(
        model=row["model"],
        source=row["source"],
        groups={group: score / 100 for group, score in scores if score is not None},
        datasets={
            metric: {name: score / 100 for name, score in of_names.items()}
            for metric, of_names in row.get("datasets", {}).items()
        },
        note=row.get("note", ""),
    )
