"""An ablation's numbers: means, intervals and paired differences over seeds; as a table, JSON and a plot."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from llave.ablation.grid import Grid
from llave.ablation.run import Score
from llave.errors import UserError
from llave.evaluation.record import code, versions
from llave.evaluation.statistics import Estimate, mean_ci95, paired_permutation_test
from llave.report.plots import MODEL_COLOURS, forest, save_figure, style

__all__ = ["Row", "markdown", "percent", "plot", "summarise", "table", "to_json"]

SPLITS = {"ind": "in distribution", "ood": "out of distribution", "overall": "overall"}


@dataclass(frozen=True, slots=True)
class Row:
    """A variant: P@1 per group over its seeds, and the difference to the baseline on the seeds that both have.

    ``p`` is of the exact sign-flip test over seeds. All as fractions.
    """

    variant: str
    seeds: tuple[int, ...]
    groups: dict[str, Estimate]
    differences: dict[str, Estimate]
    p: dict[str, float | None]
    gap_hard: float


def summarise(grid: Grid, scores: Sequence[Score]) -> list[Row]:
    """A row per variant that has a score.

    Raises:
        UserError: nothing is done yet.
    """
    by_variant = {
        variant.name: {score.seed: score for score in scores if score.variant == variant.name}
        for variant in grid.variants
    }
    if not any(by_variant.values()):
        raise UserError("no cell of this ablation is done yet")
    measured = {
        name: {seed: _groups(score, grid.means) for seed, score in own.items()} for name, own in by_variant.items()
    }
    return [
        _row(name, own, measured[grid.baseline], [score.gap_hard for score in by_variant[name].values()])
        for name, own in measured.items()
        if own
    ]


def _groups(score: Score, means: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """P@1 by group, and by the grid's own means.

    Raises:
        UserError: a mean of a data set that was not evaluated.
    """
    found = dict(score.groups)
    for mean, names in means.items():
        missing = [name for name in names if name not in score.datasets]
        if missing:
            raise UserError(f"grid: means: {mean}: no data set {missing[0]}; there are {', '.join(score.datasets)}")
        found[mean] = float(np.mean([score.datasets[name] for name in names]))
    return found


def _row(
    name: str, own: Mapping[int, dict[str, float]], baseline: Mapping[int, dict[str, float]], gaps: Sequence[float]
) -> Row:
    groups = list(next(iter(own.values())))
    shared = sorted(set(own) & set(baseline))
    differences, p = {}, {}
    for group in groups if shared else []:
        mine, theirs = ([scores[seed][group] for seed in shared] for scores in (own, baseline))
        differences[group] = mean_ci95(np.subtract(mine, theirs))
        p[group] = paired_permutation_test(mine, theirs) if len(shared) > 1 else None
    return Row(
        name,
        tuple(sorted(own)),
        {group: mean_ci95([scores[group] for scores in own.values()]) for group in groups},
        differences,
        p,
        float(np.mean(gaps)),
    )


def table(grid: Grid, rows: Sequence[Row]) -> Table:
    """For a terminal."""
    shown = Table(
        title="ablation: P@1 %, mean ± 95% interval over seeds",
        caption=f"second line: difference to {grid.baseline}, paired by seed",
    )
    shown.add_column("variant", overflow="fold")
    names = _shown(grid, rows[0])
    for heading in (*(SPLITS.get(name, name) for name in names), "gap to hard", "seeds"):
        shown.add_column(heading, justify="right", overflow="fold")
    for row in rows:
        cells = _cells(grid, row)
        pairs = zip(cells[: len(names)], cells[len(names) :], strict=False)
        scores = (f"{score}\n{difference}" if difference else score for score, difference in pairs)
        shown.add_row(row.variant, *scores, *cells[2 * len(names) :], end_section=True)
    return shown


def markdown(grid: Grid, rows: Sequence[Row], queries: Mapping[str, int]) -> str:
    """For a page."""
    headings = ["variant", *_headings(grid, rows)]
    lines = [f"| {' | '.join(headings)} |", "|---|" + "---:|" * (len(headings) - 1)]
    lines += [f"| {' | '.join([row.variant, *_cells(grid, row)])} |" for row in rows]
    seeds = sorted({seed for row in rows for seed in row.seeds})
    lines += [
        "",
        f"P@1 %, mean ± half of the 95% interval (Student's t) over seeds {', '.join(map(str, seeds))}; {len(queries)} "
        f"data sets, {sum(queries.values()):,} queries. Differences to {grid.baseline} are paired by seed.",
    ]
    return "\n".join(lines) + "\n"


def _headings(grid: Grid, rows: Sequence[Row]) -> list[str]:
    shown = _shown(grid, rows[0])
    return [
        *(SPLITS.get(name, name) for name in shown),
        *(f"{SPLITS.get(name, name)}, difference" for name in shown),
        "gap to hard",
        "seeds",
    ]


def _shown(grid: Grid, row: Row) -> list[str]:
    """The splits, and the grid's own means."""
    return [*(name for name in SPLITS if name in row.groups), *grid.means]


def _cells(grid: Grid, row: Row) -> list[str]:
    shown = _shown(grid, row)
    compared = row.variant != grid.baseline and bool(row.differences)
    return [
        *(percent(row.groups[name]) for name in shown),
        *(percent(row.differences[name], sign=True) if compared else "" for name in shown),
        f"{row.gap_hard:.3f}",
        str(len(row.seeds)),
    ]


def percent(estimate: Estimate, *, sign: bool = False) -> str:
    """As points, with half of its interval."""
    mean = f"{100 * estimate.mean:+.1f}" if sign else f"{100 * estimate.mean:.1f}"
    return mean if estimate.half_width is None else f"{mean} ± {100 * estimate.half_width:.1f}"


def to_json(grid: Grid, rows: Sequence[Row], scores: Sequence[Score]) -> dict[str, Any]:
    """Everything, fractions between 0 and 1."""

    def estimate(value: Estimate) -> dict[str, Any]:
        return {"mean": value.mean, "ci95": None if value.interval is None else list(value.interval)}

    return {
        "versions": versions(),
        "code": code(),
        "machine": f"{platform.platform()}, {os.cpu_count()} cores",
        "baseline": grid.baseline,
        "means": {name: list(names) for name, names in grid.means.items()},
        "variants": {
            row.variant: {
                "changes": next(dict(v.changes) for v in grid.variants if v.name == row.variant),
                "seeds": list(row.seeds),
                "p_at_1": {group: estimate(value) for group, value in row.groups.items()},
                "difference": {
                    group: {**estimate(value), "p": row.p[group]} for group, value in row.differences.items()
                },
                "gap_hard": row.gap_hard,
                "runs": [
                    {
                        "seed": score.seed,
                        "groups": _groups(score, grid.means),
                        "datasets": score.datasets,
                        "overlaps": score.overlaps,
                        "curve": score.curve,
                        "commit": score.commit,
                    }
                    for score in scores
                    if score.variant == row.variant
                ],
            }
            for row in rows
        },
        "queries": scores[0].queries,
    }


def plot(grid: Grid, rows: Sequence[Row], path: Path) -> None:
    """Over the varied number, if it is one; otherwise the differences to the baseline. As ``path``.png and .svg."""
    with style():
        figure = _curve(grid, rows, grid.axis) if grid.axis is not None else _forest(grid, rows)
        save_figure(figure, path)


def _curve(grid: Grid, rows: Sequence[Row], axis: str) -> Figure:
    """P@1 per split over a number."""
    value_of = {variant.name: float(variant.changes[axis]) for variant in grid.variants}
    ordered = sorted(rows, key=lambda row: value_of[row.variant])
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    for colour, group in zip(MODEL_COLOURS[1:], _shown(grid, rows[0]), strict=False):
        estimates = [row.groups[group] for row in ordered]
        axes.errorbar(
            [value_of[row.variant] for row in ordered],
            [100 * estimate.mean for estimate in estimates],
            yerr=[100 * (estimate.half_width or 0.0) for estimate in estimates],
            marker="o",
            capsize=3,
            color=colour,
            label=SPLITS.get(group, group),
        )
    axes.set(xlabel=axis, ylabel="P@1 %")
    axes.legend(frameon=False)
    return figure


def _forest(grid: Grid, rows: Sequence[Row]) -> Figure:
    """Difference to the baseline per variant and split, with its interval."""
    others = [row for row in rows if row.variant != grid.baseline and row.differences]
    return forest(
        [row.variant for row in others],
        {
            SPLITS.get(group, group): [row.differences[group] for row in others]
            for group in _shown(grid, rows[0])
            if group != "overall"
        },
        xlabel=f"P@1 points above {grid.baseline}, 95% interval over seeds",
    )
