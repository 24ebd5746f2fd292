"""From runs over seeds to the numbers of ``results.json``: means, intervals and the paired comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from llave.errors import UserError
from llave.evaluation.result import EvalResult
from llave.evaluation.similarity_gap import Gap, similarity_gap
from llave.evaluation.statistics import mean_ci95, paired_permutation_test, smallest_p

__all__ = ["ModelRun", "aggregate", "mean_or_none"]

GAP_FIELDS = ("positive", "hard", "easy", "gap_hard", "gap_easy", "overlap")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRun:
    """One model (or one way of training it): an evaluation per seed, in the order of ``seeds``.

    Args:
        results: evaluations of the same benchmark.
        seeds: the training seeds; their number equals that of the results.
        alpha: hardness weight of the loss, if known.
        temperature: temperature of the loss, if known.
        settings: anything else for the report's table of settings.
    """

    results: Sequence[EvalResult]
    seeds: Sequence[int] = (0,)
    alpha: float | None = None
    temperature: float | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


def aggregate(runs: Mapping[str, ModelRun]) -> dict[str, Any]:
    """``results.json`` of one or more models.

    P@1, cosines and overlaps are fractions, means over seeds. ``ci95`` is a pair: over seeds where there are
    two or more, otherwise over queries (data sets) or null (groups); ``ci95_over`` says which. ``paired`` compares
    each model of the first one's seeds with it, seed by seed.

    Raises:
        UserError: no run, or runs that do not cover the same data sets or whose seeds do not match their results.
    """
    _check(runs)
    first = next(iter(runs.values()))
    summary: dict[str, Any] = {
        "benchmark": first.results[0].benchmark,
        "ties": first.results[0].ties,
        "seeds": list(first.seeds),
        "models": {name: _model(run) for name, run in runs.items()},
    }
    baseline, *others = runs
    summary["paired"] = [
        _paired(summary["models"], baseline, name, len(first.seeds))
        for name in others
        if list(runs[name].seeds) == list(first.seeds)
    ]
    return summary


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are there; None if there are none."""
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None


def _check(runs: Mapping[str, ModelRun]) -> None:
    if not runs:
        raise UserError("nothing to aggregate: no run given")
    expected = {(task.name, task.meta_task, task.split) for task in next(iter(runs.values())).results[0].tasks.values()}
    for name, run in runs.items():
        if not run.results or len(run.results) != len(run.seeds):
            raise UserError(f"{name}: {len(run.results)} results for {len(run.seeds)} seeds")
        for result in run.results:
            if {(task.name, task.meta_task, task.split) for task in result.tasks.values()} != expected:
                raise UserError(f"{name}: its data sets differ from those of the other runs")


def _model(run: ModelRun) -> dict[str, Any]:
    gaps = [similarity_gap(result) for result in run.results]
    first = run.results[0]
    datasets = {name: _dataset(run, [gap[name] for gap in gaps], name) for name in first.tasks}
    per_seed = [result.groups() for result in run.results]
    groups: dict[str, Any] = {}
    for group, names in first.members().items():
        values = [seed[group] for seed in per_seed]
        estimate = mean_ci95(values)
        groups[group] = {
            "p_at_1": estimate.mean,
            "ci95": _pair(estimate.interval),
            "per_seed": values,
            "datasets": len(names),
            "queries": sum(datasets[name]["queries"] for name in names),
            **{key: mean_or_none([datasets[name][key] for name in names]) for key in GAP_FIELDS},
        }
    return {
        "alpha": run.alpha,
        "temperature": run.temperature,
        "settings": dict(run.settings),
        "datasets": datasets,
        "meta": groups,
        "skipped": [result.skipped for result in run.results],
    }


def _dataset(run: ModelRun, gaps: Sequence[Gap], name: str) -> dict[str, Any]:
    tasks = [result.tasks[name] for result in run.results]
    values = [task.p_at_1 for task in tasks]
    estimate = mean_ci95(values)
    over_seeds = len(values) > 1
    return {
        "p_at_1": estimate.mean,
        "queries": tasks[0].queries,
        "ci95": _pair(estimate.interval if over_seeds else tasks[0].ci95),
        "ci95_over": "seeds" if over_seeds else "queries",
        "per_seed": values,
        **{key: mean_or_none([getattr(gap, key) for gap in gaps]) for key in GAP_FIELDS},
        "meta": tasks[0].meta_task,
        "split": tasks[0].split,
    }


def _paired(models: Mapping[str, Any], baseline: str, model: str, seeds: int) -> dict[str, Any]:
    """Differences ``model - baseline`` per group and per data set."""

    def compare(kind: str) -> dict[str, Any]:
        return {
            key: _difference(models[model][kind][key]["per_seed"], models[baseline][kind][key]["per_seed"])
            for key in models[model][kind]
        }

    return {
        "baseline": baseline,
        "model": model,
        "test": "exact sign-flip test over seeds, two-sided",
        "smallest_p": smallest_p(seeds) if seeds > 1 else None,
        "groups": compare("meta"),
        "datasets": compare("datasets"),
    }


def _difference(model: Sequence[float], baseline: Sequence[float]) -> dict[str, Any]:
    estimate = mean_ci95(np.subtract(model, baseline))
    return {
        "difference": estimate.mean,
        "ci95": _pair(estimate.interval),
        "p": paired_permutation_test(model, baseline) if len(model) > 1 else None,
    }


def _pair(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)
