"""The attacks as a table."""

from typing import Any

from benchmarks.sheet import Sheet

__all__ = ["hostile_sheet", "load_sheet"]


def hostile_sheet(report: dict[str, Any]) -> Sheet:
    """Of what ``python -m benchmarks.hostile`` wrote."""
    rows = [_row(outcome) for outcome in report["attacks"]]
    return Sheet(
        title=f"{report['seconds']:g} s of each attack beside four honest clients · {report['machine']}",
        caption="live: the longest answer of /health/live; × quiet: p95 of the honest clients over that just before",
        columns=("attack", "live s", "p95 ms", "× quiet", "requests", "lost", "wrong", "peak MiB", "rest MiB"),
        rows=rows,
        words=frozenset({"attack"}),
    )


def load_sheet(report: dict[str, Any]) -> Sheet:
    """Of what ``python -m benchmarks.load`` wrote."""
    return Sheet(
        title=f"{report['seconds']} s of {report['clients']} clients · {report['machine']}",
        caption="",
        columns=("requests", "asked", "p50 ms", "p95 ms", "p99 ms"),
        rows=[
            (kind, f"{report['asked'][kind]:,}", *(f"{ms[each]:,.0f}" for each in ("p50", "p95", "p99")))
            for kind, ms in report["ms"].items()
        ],
        words=frozenset({"requests"}),
    )


def _row(outcome: dict[str, Any]) -> tuple[str, ...]:
    return (
        outcome["attack"].replace("_", " "),
        f"{outcome['live_s']:.2f}",
        f"{outcome['p95_ms']:.0f}",
        f"{outcome['p95_ms'] / outcome['quiet_p95_ms']:.1f}",
        f"{outcome['requests']:,}",
        str(len(outcome["lost"])),
        str(len(outcome["wrong"])),
        f"{outcome['peak_mib']:,}",
        f"{outcome['rest_mib']:,}",
    )
