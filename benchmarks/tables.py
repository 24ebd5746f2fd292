"""Measurements as tables and a plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.eval import BASE as OURS
from benchmarks.eval import EvalMeasurement
from benchmarks.loss import Measurement
from benchmarks.serve import ServeMeasurement
from benchmarks.sheet import Sheet
from benchmarks.train import BASE as PEER
from benchmarks.train import REPAIRED, StepMeasurement

__all__ = [
    "eval_markdown", "eval_sheet", "loss_plot", "loss_sheet", "serve_markdown", "serve_sheet", "train_markdown",
    "train_sheet",
]  # fmt: skip

BASE = "llave auto"


def loss_sheet(found: Sequence[Measurement], title: str) -> Sheet:
    """Time, memory and error of each variant of the loss."""
    return Sheet(
        title=title,
        caption="× auto: time as a multiple of llave's; error: of the gradient, against float64",
        columns=("N", "variant", "ms", "fastest to slowest", "× auto", "peak MiB", "error, easy", "error, hard"),
        rows=[_loss_row(measurement, found) for measurement in found],
        words=frozenset({"variant"}),
        hidden=frozenset({"fastest to slowest"}),
        apart=1,
    )


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


def _loss_row(measurement: Measurement, found: Sequence[Measurement]) -> tuple[str, ...]:
    if measurement.seconds is None:
        return f"{measurement.size:,}", measurement.variant, measurement.skipped, "", "", "", "", ""
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


def train_sheet(found: Sequence[StepMeasurement], title: str) -> Sheet:
    """Speed, memory and error of each way to train a step."""
    return Sheet(
        title=title,
        caption=f"× peer: speed as a multiple of {PEER}'s; error: against the batch at once",
        columns=("rows", "variant", "pairs/s", "slowest to fastest", "× peer", "peak MiB", "gradient error"),
        rows=[_train_row(measurement, found) for measurement in found],
        words=frozenset({"rows", "variant"}),
        hidden=frozenset({"slowest to fastest"}),
        apart=1,
    )


def _train_row(measurement: StepMeasurement, found: Sequence[StepMeasurement]) -> tuple[str, ...]:
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


def eval_sheet(found: Sequence[EvalMeasurement], title: str) -> Sheet:
    """Time and work of each way to evaluate."""
    return Sheet(
        title=title,
        caption="× llave: time as a multiple of llave's; tokens: padding included",
        columns=EVAL_COLUMNS,
        rows=[_eval_row(measurement, found) for measurement in found],
        words=frozenset({"variant"}),
        hidden=frozenset({"fastest to slowest", "reading", "encoding", "scoring"}),
    )


def _eval_row(measurement: EvalMeasurement, found: Sequence[EvalMeasurement]) -> tuple[str, ...]:
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


def serve_sheet(found: Sequence[ServeMeasurement], title: str, beside: str = "plain") -> Sheet:
    """Rate and latency of each server.

    Args:
        beside: the servers that ``ratio`` compares with, in a word.
    """
    return Sheet(
        title=title,
        caption=f"× {beside}: the rate as a multiple of the best {beside} server's; CPU: of the server, for a request",
        columns=(
            "items", "clients", "server", "requests/s", "slowest to fastest", f"× {beside}", "p50 ms", "p95 ms",
            "CPU ms",
        ),
        rows=[_serve_row(measurement) for measurement in found],
        words=frozenset({"items", "server"}),
        hidden=frozenset({"slowest to fastest"}),
        apart=2,
    )  # fmt: skip


def _serve_row(measurement: ServeMeasurement) -> tuple[str, ...]:
    return (
        measurement.kind,
        str(measurement.clients),
        measurement.variant,
        f"{measurement.rate:.1f}",
        f"{measurement.slowest:.1f} to {measurement.fastest:.1f}",
        f"{measurement.ratio:.2f}",
        f"{measurement.p50_ms:.1f}",
        f"{measurement.p95_ms:.1f}",
        f"{measurement.cpu_ms:.1f}",
    )


def train_markdown(content: dict[str, Any]) -> str:
    """Of a committed measurement."""
    return train_sheet([StepMeasurement(**m) for m in content["measurements"]], content["title"]).markdown()


def eval_markdown(content: dict[str, Any]) -> str:
    """Of a committed measurement."""
    return eval_sheet([EvalMeasurement(**m) for m in content["measurements"]], content["title"]).markdown()


def serve_markdown(content: dict[str, Any]) -> str:
    """Of a committed measurement."""
    return serve_sheet([ServeMeasurement(**m) for m in content["measurements"]], content["title"]).markdown()
