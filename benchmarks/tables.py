"""Measurements as tables and a plot."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from benchmarks.eval import BASE as OURS
from benchmarks.eval import EvalMeasurement
from benchmarks.loss import Measurement
from benchmarks.train import BASE as PEER
from benchmarks.train import REPAIRED, StepMeasurement

__all__ = ["eval_markdown", "eval_table", "loss_markdown", "loss_plot", "loss_table", "train_markdown", "train_table"]

COLUMNS = ("N", "variant", "ms", "fastest to slowest", "× auto", "peak MiB", "error, easy", "error, hard")
RANGE = 3
"""Column of both tables that a terminal has no room for."""
BASE = "llave auto"


def loss_table(found: Sequence[Measurement], title: str) -> Table:
    """For a terminal."""
    table = Table(title=title, caption="× auto: time as a multiple of llave's; error: of the gradient, against float64")
    shown = [number for number in range(len(COLUMNS)) if number != RANGE]
    for number in shown:
        table.add_column(COLUMNS[number], justify="left" if number == 1 else "right", no_wrap=number < RANGE)
    for place, measurement in enumerate(found):
        cells = _cells(measurement, found)
        last = place + 1 == len(found) or found[place + 1].size != measurement.size
        table.add_row(*(cells[number] for number in shown), end_section=last)
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
        _milliseconds(measurement.seconds),
        f"{_milliseconds(measurement.fastest)} to {_milliseconds(measurement.slowest)}",
        f"{measurement.seconds / base:.2f}" if base else "",
        f"{(measurement.peak_bytes or 0) / 2**20:,.0f}",
        _error(measurement.error_easy),
        _error(measurement.error_hard),
    )


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:,.4g}" if seconds < 1 else f"{1000 * seconds:,.0f}"


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.0e}"


TRAIN_COLUMNS = ("rows", "variant", "pairs/s", "slowest to fastest", "× peer", "peak MiB", "gradient error")


def train_table(found: Sequence[StepMeasurement], title: str) -> Table:
    """For a terminal."""
    table = Table(title=title, caption=f"× peer: speed as a multiple of {PEER}'s; error: against the batch at once")
    shown = [number for number in range(len(TRAIN_COLUMNS)) if number != RANGE]
    for number in shown:
        table.add_column(TRAIN_COLUMNS[number], justify="left" if number < 2 else "right")
    for place, measurement in enumerate(found):
        cells = _train_cells(measurement, found)
        last = place + 1 == len(found) or found[place + 1].rows != measurement.rows
        table.add_row(*(cells[number] for number in shown), end_section=last)
    return table


def train_markdown(found: Sequence[StepMeasurement], title: str) -> str:
    """For a page."""
    lines = [title, "", f"| {' | '.join(TRAIN_COLUMNS)} |", "|---|---|" + "---:|" * (len(TRAIN_COLUMNS) - 2)]
    lines += [f"| {' | '.join(_train_cells(measurement, found))} |" for measurement in found]
    return "\n".join(lines) + "\n"


def _train_cells(measurement: StepMeasurement, found: Sequence[StepMeasurement]) -> tuple[str, ...]:
    if measurement.seconds is None or measurement.fastest is None or measurement.slowest is None:
        return measurement.rows, measurement.variant, "fails", "", "", "", ""
    peers = [m.seconds for m in found if m.rows == measurement.rows and m.variant in (PEER, REPAIRED) and m.seconds]
    return (
        measurement.rows,
        measurement.variant,
        f"{measurement.pairs / measurement.seconds:.1f}",
        f"{measurement.pairs / measurement.slowest:.1f} to {measurement.pairs / measurement.fastest:.1f}",
        f"{peers[0] / measurement.seconds:.2f}" if peers else "",
        f"{(measurement.peak_bytes or 0) / 2**20:,.0f}",
        _error(measurement.error),
    )


EVAL_COLUMNS = (
    "variant", "s", "fastest to slowest", "× llave", "CPU s", "× llave, CPU", "reading", "encoding", "scoring",
    "items", "tokens", "tiles", "cosine error",
)  # fmt: skip
EVAL_SHOWN = ("variant", "s", "× llave", "CPU s", "× llave, CPU", "items", "tokens", "tiles", "cosine error")


def eval_table(found: Sequence[EvalMeasurement], title: str) -> Table:
    """For a terminal."""
    table = Table(title=title, caption="× llave: time as a multiple of llave's; tokens: padding included")
    for name in EVAL_SHOWN:
        table.add_column(name, justify="left" if name == "variant" else "right")
    for measurement in found:
        cells = dict(zip(EVAL_COLUMNS, _eval_cells(measurement, found), strict=True))
        table.add_row(*(cells[name] for name in EVAL_SHOWN))
    return table


def eval_markdown(found: Sequence[EvalMeasurement], title: str) -> str:
    """For a page."""
    lines = [title, "", f"| {' | '.join(EVAL_COLUMNS)} |", "|---|" + "---:|" * (len(EVAL_COLUMNS) - 1)]
    lines += [f"| {' | '.join(_eval_cells(measurement, found))} |" for measurement in found]
    return "\n".join(lines) + "\n"


def _eval_cells(measurement: EvalMeasurement, found: Sequence[EvalMeasurement]) -> tuple[str, ...]:
    base = next(m for m in found if m.variant == OURS)
    if measurement.seconds is None or measurement.cpu_seconds is None or not base.seconds or not base.cpu_seconds:
        return measurement.variant, f"fails: {measurement.failed}", *[""] * (len(EVAL_COLUMNS) - 2)
    return (
        measurement.variant,
        f"{measurement.seconds:.1f}",
        f"{measurement.fastest:.1f} to {measurement.slowest:.1f}",
        f"{measurement.seconds / base.seconds:.2f}",
        f"{measurement.cpu_seconds:.1f}",
        f"{measurement.cpu_seconds / base.cpu_seconds:.2f}",
        *(f"{seconds or 0:.2f}" for seconds in (measurement.reading, measurement.encoding, measurement.scoring)),
        *(f"{count:,}" for count in (measurement.items, measurement.tokens, measurement.tiles)),
        _error(measurement.difference),
    )
