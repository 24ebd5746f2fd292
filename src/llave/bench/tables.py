"""Measurements of the loss as tables and a plot."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from llave.bench.loss import Measurement

__all__ = ["loss_markdown", "loss_plot", "loss_table"]

COLUMNS = ("N", "variant", "seconds", "range", "× auto", "peak MiB", "error, easy", "error, hard")
BASE = "llave auto"


def loss_table(found: Sequence[Measurement], title: str) -> Table:
    """For a terminal."""
    table = Table(title=title, caption="× auto: time as a multiple of llave's; error: of the gradient, against float64")
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if number == 1 else "right", no_wrap=number == 1)
    for measurement in found:
        table.add_row(*_cells(measurement, found))
    return table


def loss_markdown(found: Sequence[Measurement], title: str) -> str:
    """For a page."""
    lines = [title, "", f"| {' | '.join(COLUMNS)} |", "|---:|---|" + "---:|" * (len(COLUMNS) - 2)]
    lines += [f"| {' | '.join(_cells(measurement, found))} |" for measurement in found]
    return "\n".join(lines) + "\n"


def loss_plot(found: Sequence[Measurement], title: str, path: Path) -> None:
    """Time and memory over N, as ``path``.png and .svg; nothing where nothing was measured."""
    from matplotlib.figure import Figure

    found = [measurement for measurement in found if measurement.seconds is not None]
    if not found:
        return
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    seconds, memory = figure.subplots(1, 2)
    for variant in dict.fromkeys(measurement.variant for measurement in found):
        points = [m for m in found if m.variant == variant]
        style = "-o" if variant.startswith("llave") else "--x"
        seconds.plot([m.size for m in points], [m.seconds or 0 for m in points], style, label=variant, markersize=4)
        peaks = [max(m.peak_bytes or 0, 2**20) / 2**20 for m in points]
        memory.plot([m.size for m in points], peaks, style, label=variant, markersize=4)
    for axes, label in ((seconds, "seconds, forward and backward"), (memory, "peak memory above the inputs, MiB")):
        axes.set(xscale="log", yscale="log", xlabel="pairs N", ylabel=label)
        axes.set_xscale("log", base=2)
        axes.grid(alpha=0.3)
    memory.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.suptitle(title, fontsize=9)
    for suffix in ("png", "svg"):
        figure.savefig(path.with_suffix(f".{suffix}"), dpi=120)


def _cells(measurement: Measurement, found: Sequence[Measurement]) -> tuple[str, ...]:
    if measurement.seconds is None:
        return str(measurement.size), measurement.variant, measurement.skipped, "", "", "", "", ""
    base = next((m.seconds for m in found if m.size == measurement.size and m.variant == BASE), None)
    return (
        f"{measurement.size:,}",
        measurement.variant,
        f"{measurement.seconds:.4f}",
        f"{measurement.fastest:.4f} to {measurement.slowest:.4f}",
        f"{measurement.seconds / base:.2f}" if base else "",
        f"{(measurement.peak_bytes or 0) / 2**20:,.0f}",
        _error(measurement.error_easy),
        _error(measurement.error_hard),
    )


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.0e}"
