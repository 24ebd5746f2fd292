"""Measurements of servers as tables."""

from collections.abc import Sequence

from rich.table import Table

from benchmarks.serve import OURS, ServeMeasurement

__all__ = ["serve_markdown", "serve_table"]

COLUMNS = ("items", "clients", "server", "requests/s", "slowest to fastest", "× plain", "p50 ms", "p95 ms", "CPU ms")
RANGE = 4
"""Column that a terminal has no room for."""


def serve_table(found: Sequence[ServeMeasurement], title: str) -> Table:
    """For a terminal."""
    table = Table(
        title=title,
        caption="× plain: the rate as a multiple of the faster plain server's; CPU: of the server, for a request",
    )
    shown = [number for number in range(len(COLUMNS)) if number != RANGE]
    for number in shown:
        table.add_column(COLUMNS[number], justify="left" if number in {0, 2} else "right", no_wrap=True)
    for place, measurement in enumerate(found):
        last = place + 1 == len(found) or found[place + 1].variant == OURS
        cells = _cells(measurement)
        table.add_row(*(cells[number] for number in shown), end_section=last)
    return table


def serve_markdown(found: Sequence[ServeMeasurement], title: str) -> str:
    """For a page."""
    lines = [title, "", f"| {' | '.join(COLUMNS)} |", "|---|---:|---|" + "---:|" * (len(COLUMNS) - 3)]
    lines += [f"| {' | '.join(_cells(measurement))} |" for measurement in found]
    return "\n".join(lines) + "\n"


def _cells(measurement: ServeMeasurement) -> tuple[str, ...]:
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
