"""Figures of an evaluation: histograms of cosines, and bars per group. Colours are told apart by the colour-blind."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from llave.evaluation.similarity_gap import Gap
from llave.evaluation.statistics import Estimate
from llave.files import whole_file
from llave.report.titles import group_title

__all__ = [
    "COLOURS",
    "INK",
    "cosine_limits",
    "cosine_title",
    "forest",
    "group_bars",
    "histograms",
    "save_figure",
    "small_histogram",
    "style",
    "tallest",
]

COLOURS = {"positive": "#0072b2", "hard": "#d55e00", "easy": "#8c8c8c"}
"""Okabe and Ito's blue and vermilion, and grey."""
MODEL_COLOURS = ("#8c8c8c", "#0072b2", "#d55e00", "#009e73", "#cc79a7")
LINES = {"positive": "-", "hard": "--", "easy": ":"}
INK = "#1a1b1e"
"""Colour of text and axes; the report replaces it by the page's own."""
BINS = 40


def style() -> Any:
    """Context in which figures are drawn and saved: quiet axes, text kept as text in SVG."""
    return rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "llave",
            "font.family": "sans-serif",
            "font.size": 10,
            "hatch.linewidth": 0.6,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
        }
    )


def forest(rows: Sequence[str], series: Mapping[str, Sequence[Estimate]], *, xlabel: str) -> Figure:
    """Differences as points with their intervals: a line for each row, a colour for each series.

    Args:
        series: fractions, of every row in turn.
    """
    figure = Figure(figsize=(7.4, 1.4 + 0.4 * max(len(rows), 1)), layout="constrained")
    axes = figure.subplots()
    for number, (colour, (name, estimates)) in enumerate(zip(MODEL_COLOURS[1:], series.items(), strict=False)):
        axes.errorbar(
            [100 * estimate.mean for estimate in estimates],
            [place + 0.18 * (number - (len(series) - 1) / 2) for place in range(len(rows))],
            xerr=[100 * (estimate.half_width or 0.0) for estimate in estimates],
            fmt="o",
            capsize=3,
            color=colour,
            label=name,
        )
    axes.axvline(0, color="#8c8c8c", linewidth=0.8)
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set_xlabel(xlabel)
    axes.legend(frameon=False)
    return figure


def cosine_title(kind: str) -> str:
    """Title of a kind of cosine."""
    return {"positive": "positive", "hard": "hard negatives", "easy": "easy negatives"}[kind]


def cosine_limits(gaps: Iterable[Gap]) -> tuple[float, float]:
    """Smallest and largest cosine of several models or data sets, with a margin, so that their axes agree."""
    values = np.concatenate([part for gap in gaps for part in (gap.positives, gap.hards, gap.easies)])
    margin = max(0.02, 0.03 * float(np.ptp(values)))
    return float(values.min()) - margin, float(values.max()) + margin


def small_histogram(gap: Gap, name: str, *, limits: tuple[float, float], top: float) -> Figure:
    """One of many that are compared: a panel of equal axes, without a vertical one.

    Args:
        top: of the vertical axis, in percent; see :func:`tallest`.
    """
    with style():
        figure = Figure(figsize=(3.6, 1.05), layout="constrained")
        panel = figure.subplots()
        _draw(panel, gap, limits)
        panel.set_xlim(*limits)
        panel.set_ylim(0, 1.05 * top)
        panel.set_yticks([])
        panel.spines["left"].set_visible(False)
        panel.tick_params(labelsize=8)
        panel.set_title(name, fontsize=9, loc="left", pad=2)
    return figure


def tallest(gaps: Iterable[Gap], limits: tuple[float, float]) -> float:
    """The largest share of a kind of cosine in a bin, in percent."""
    parts = [part for gap in gaps for part in (gap.positives, gap.hards, gap.easies) if part.size]
    return max(100 * float(np.histogram(part, BINS, limits)[0].max()) / part.size for part in parts)


def _draw(panel: Any, gap: Gap, limits: tuple[float, float]) -> None:
    for kind, values in (("easy", gap.easies), ("hard", gap.hards), ("positive", gap.positives)):
        if not values.size:
            continue
        share = np.full(values.size, 100.0 / values.size)
        shape: dict[str, Any] = {"bins": BINS, "range": limits, "weights": share, "color": COLOURS[kind]}
        panel.hist(values, histtype="stepfilled", alpha=0.28, label=cosine_title(kind), **shape)
        panel.hist(values, histtype="step", linestyle=LINES[kind], linewidth=1.4, **shape)


def histograms(gaps: Mapping[str, Gap], title: str = "") -> Figure:
    """Histograms of positive, hard and easy cosines, one panel per model, side by side on equal axes."""
    low, high = cosine_limits(gaps.values())
    with style():
        figure = Figure(figsize=(4.6 * len(gaps), 2.5), layout="constrained")
        panels = figure.subplots(1, len(gaps), sharey=True, squeeze=False)[0]
        for panel, (name, gap) in zip(panels, gaps.items(), strict=True):
            _draw(panel, gap, (low, high))
            panel.set_xlim(low, high)
            panel.set_xlabel("cosine")
            panel.set_title(name, fontsize=10)
        panels[0].set_ylabel("share, %")
        if title:
            figure.suptitle(title)
            panels[0].legend(frameon=False, fontsize=8)
    return figure


def group_bars(results: Mapping[str, Any], *, title: bool = True) -> Figure:
    """P@1 per meta-task, split and overall with 95% intervals, from the results of ``aggregate``."""
    models: Mapping[str, Any] = results["models"]
    groups = list(next(iter(models.values()))["meta"])
    thickness = 0.8 / len(models)
    with style():
        figure = Figure(figsize=(6.4, 0.7 + (0.22 + 0.18 * len(models)) * len(groups)), layout="constrained")
        axes = figure.subplots()
        for index, (name, model) in enumerate(models.items()):
            places = [row + thickness * (index - (len(models) - 1) / 2) for row in range(len(groups))]
            values = [100 * model["meta"][group]["p_at_1"] for group in groups]
            bars = axes.barh(
                places,
                values,
                height=thickness * 0.9,
                color=MODEL_COLOURS[(index + (len(models) == 1)) % len(MODEL_COLOURS)],
                hatch=("", "///", "...", "xxx", "---")[index % 5],
                edgecolor="#ffffff",
                linewidth=0,
                label=name,
            )
            reach = []
            for place, value, group in zip(places, values, groups, strict=True):
                interval = model["meta"][group]["ci95"]
                half = 50 * (interval[1] - interval[0]) if interval else 0.0
                reach.append(value + half)
                if half:
                    axes.errorbar(value, place, xerr=half, color=INK, capsize=2, linewidth=1, fmt="none")
            for bar, end, value in zip(bars, reach, values, strict=True):
                axes.text(end + 1, bar.get_y() + bar.get_height() / 2, f"{value:.1f}", va="center", fontsize=8)
        axes.set_yticks(range(len(groups)), [group_title(group) for group in groups])
        axes.invert_yaxis()
        axes.set_xlim(0, 112)
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlabel("P@1, %")
        if title:
            axes.set_title(results["benchmark"], fontsize=10)
        if len(models) > 1:
            figure.legend(loc="outside lower center", ncols=len(models), frameon=False, fontsize=9)
    return figure


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write ``stem.png`` (160 dots per inch) and ``stem.svg`` on white; returns their paths."""
    paths = [stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.svg")]
    with style(), whole_file(paths[0]) as png, whole_file(paths[1]) as svg:
        figure.savefig(png, dpi=160)
        figure.savefig(svg, metadata={"Date": None})
    return paths
