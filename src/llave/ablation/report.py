"""An ablation's numbers: means, intervals and paired differences over seeds; as a table, JSON and a plot."""

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
from llave.evaluation.statistics import Estimate, mean_ci95, paired_permutation_test
from llave.report.plots import MODEL_COLOURS, save_figure, style

__all__ = ["Row", "markdown", "plot", "summarise", "table", "to_json"]

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
    return [_row(name, own, by_variant[grid.baseline]) for name, own in by_variant.items() if own]


def _row(name: str, own: Mapping[int, Score], baseline: Mapping[int, Score]) -> Row:
    groups = list(next(iter(own.values())).groups)
    shared = sorted(set(own) & set(baseline))
    differences, p = {}, {}
    for group in groups if shared else []:
        mine, theirs = ([scores[seed].groups[group] for seed in shared] for scores in (own, baseline))
        differences[group] = mean_ci95(np.subtract(mine, theirs))
        p[group] = paired_permutation_test(mine, theirs) if len(shared) > 1 else None
    return Row(
        name,
        tuple(sorted(own)),
        {group: mean_ci95([score.groups[group] for score in own.values()]) for group in groups},
        differences,
        p,
        float(np.mean([score.gap_hard for score in own.values()])),
    )


def table(rows: Sequence[Row], baseline: str) -> Table:
    """For a terminal."""
    shown = Table(title="ablation: P@1 %, mean ± 95% interval over seeds", caption=f"± to {baseline}: paired by seed")
    shown.add_column("variant")
    for heading in _headings(rows):
        shown.add_column(heading, justify="right")
    for row in rows:
        shown.add_row(row.variant, *_cells(row, rows, baseline))
    return shown


def markdown(rows: Sequence[Row], baseline: str, queries: Mapping[str, int]) -> str:
    """For a page."""
    headings = ["variant", *_headings(rows)]
    lines = [f"| {' | '.join(headings)} |", "|---|" + "---:|" * (len(headings) - 1)]
    lines += [f"| {' | '.join([row.variant, *_cells(row, rows, baseline)])} |" for row in rows]
    seeds = sorted({seed for row in rows for seed in row.seeds})
    lines += [
        "",
        f"P@1 %, mean ± half of the 95% interval (Student's t) over seeds {', '.join(map(str, seeds))}; {len(queries)} "
        f"data sets, {sum(queries.values()):,} queries. Differences to {baseline} are paired by seed.",
    ]
    return "\n".join(lines) + "\n"


def _headings(rows: Sequence[Row]) -> list[str]:
    named = [SPLITS[group] for group in _splits(rows)]
    return [*named, *(f"{name}, difference" for name in named if name != "overall"), "gap to hard", "seeds"]


def _splits(rows: Sequence[Row]) -> list[str]:
    return [group for group in SPLITS if group in rows[0].groups]


def _cells(row: Row, rows: Sequence[Row], baseline: str) -> list[str]:
    splits = _splits(rows)
    cells = [_percent(row.groups[group]) for group in splits]
    for group in splits:
        if group != "overall":
            known = row.variant != baseline and group in row.differences
            cells.append(_percent(row.differences[group], sign=True) if known else "")
    return [*cells, f"{row.gap_hard:.3f}", str(len(row.seeds))]


def _percent(estimate: Estimate, *, sign: bool = False) -> str:
    mean = f"{100 * estimate.mean:+.1f}" if sign else f"{100 * estimate.mean:.1f}"
    return mean if estimate.half_width is None else f"{mean} ± {100 * estimate.half_width:.1f}"


def to_json(grid: Grid, rows: Sequence[Row], scores: Sequence[Score]) -> dict[str, Any]:
    """Everything, fractions between 0 and 1."""

    def estimate(value: Estimate) -> dict[str, Any]:
        return {"mean": value.mean, "ci95": None if value.interval is None else list(value.interval)}

    return {
        "baseline": grid.baseline,
        "variants": {
            row.variant: {
                "changes": next(dict(v.changes) for v in grid.variants if v.name == row.variant),
                "seeds": list(row.seeds),
                "p_at_1": {group: estimate(value) for group, value in row.groups.items()},
                "difference": {
                    group: {**estimate(value), "p": row.p[group]} for group, value in row.differences.items()
                },
                "gap_hard": row.gap_hard,
                "datasets": {
                    name: float(np.mean([score.datasets[name] for score in scores if score.variant == row.variant]))
                    for name in scores[0].datasets
                },
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
    for colour, group in zip(MODEL_COLOURS[1:], _splits(rows), strict=False):
        estimates = [row.groups[group] for row in ordered]
        axes.errorbar(
            [value_of[row.variant] for row in ordered],
            [100 * estimate.mean for estimate in estimates],
            yerr=[100 * (estimate.half_width or 0.0) for estimate in estimates],
            marker="o",
            capsize=3,
            color=colour,
            label=SPLITS[group],
        )
    axes.set(xlabel=axis, ylabel="P@1 %")
    axes.legend(frameon=False)
    return figure


def _forest(grid: Grid, rows: Sequence[Row]) -> Figure:
    """Difference to the baseline per variant and split, with its interval."""
    others = [row for row in rows if row.variant != grid.baseline and row.differences]
    figure = Figure(figsize=(7.2, 1.4 + 0.5 * max(len(others), 1)), layout="constrained")
    axes = figure.subplots()
    splits = [group for group in _splits(rows) if group != "overall"]
    for number, (colour, group) in enumerate(zip(MODEL_COLOURS[1:], splits, strict=False)):
        estimates = [row.differences[group] for row in others]
        axes.errorbar(
            [100 * estimate.mean for estimate in estimates],
            [place + 0.18 * (number - (len(splits) - 1) / 2) for place in range(len(others))],
            xerr=[100 * (estimate.half_width or 0.0) for estimate in estimates],
            fmt="o",
            capsize=3,
            color=colour,
            label=SPLITS[group],
        )
    axes.axvline(0, color="#8c8c8c", linewidth=0.8)
    axes.set_yticks(range(len(others)), [row.variant for row in others])
    axes.invert_yaxis()
    axes.set_xlabel(f"P@1 points above {grid.baseline}, 95% interval over seeds")
    axes.legend(frameon=False)
    return figure
