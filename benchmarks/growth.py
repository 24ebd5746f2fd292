"""How costs grow with the number of rows: processor seconds and memory, and the slopes of both on logarithmic axes.

A slope of 1 is a cost that grows as the rows do, 2 one that grows as their square; the last step is the slope between
the two largest sizes, where what does not depend on the rows has least weight. All are two processes, of one
thread as far as it can be told; what is done lies in --work and is not done again.
Run: python -m benchmarks.growth --work DIR --out benchmarks/results/growth.json
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.growth_parts import PARTS
from benchmarks.million import THREADS
from benchmarks.provenance import provenance
from benchmarks.sheet import Sheet
from llave.errors import UserError
from llave.files import write_json

__all__ = ["draw_growth", "growth_sheet", "measure_growth", "slope"]

ROWS = (1_000, 3_000, 10_000, 30_000, 100_000)
PAIRS = (256, 512, 1024, 2048, 4096)
TITLES = {
    "make": "`llave index`, all rows new, without the model",
    "again": "`llave index` again, nothing changed",
    "write": "write vectors, 256 rows a commit",
    "search": "one search, as the index is set",
    "filtered": "one search, a tenth passes a filter",
    "exact": "one exact search",
    "count": "count what passes a filter",
    "browse": "first page in the order of a field",
    "fields": "all fields and their values",
    "scoring": "score 32 queries of an evaluation",
    "loss": "tiled loss of N pairs, with gradient",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=list(ROWS))
    parser.add_argument("--pairs", type=int, nargs="*", default=list(PAIRS))
    parser.add_argument("--work", type=Path, required=True, help="large; may be removed afterwards")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = measure_growth(args.work, args.rows, args.pairs)
    about = provenance()
    about["command"] = "growth.py"  # the folders are this machine's
    if args.out is None:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        write_json(args.out, {**about, **found}, indent=1)


def measure_growth(work: Path, rows: Sequence[int], pairs: Sequence[int]) -> dict[str, Any]:
    """Every part at every size, small ones first.

    Raises:
        UserError: a part fails.
    """
    wanted = [
        f"{part}={size}"
        for size in sorted({*rows, *pairs})
        for part in PARTS
        if size in (pairs if part == "loss" else rows)
    ]
    for some in ([each for each in wanted if not apart(each)], [each for each in wanted if apart(each)]):
        words = [sys.executable, "-m", "benchmarks.growth_parts", str(work.resolve()), *some]
        done = subprocess.run(words, stderr=subprocess.PIPE, text=True, env={**os.environ, **THREADS}, check=False)
        if done.returncode:
            raise UserError(f"it ended with {done.returncode}: {done.stderr[-2000:]}")
    lines = [json.loads(line) for line in (work / "done.jsonl").read_text("utf-8").splitlines()]
    loads = [line.pop("load") for line in lines]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in PARTS}
    for line in lines:
        if f"{line['part']}={line['rows']}" in wanted:
            found[line.pop("part")].append(line)
    return {"load": [min(loads), max(loads)], "parts": found}


def apart(part: str) -> bool:
    """Whether it is of the second process, where no allocator keeps what making the index took."""
    return part.startswith("again=")


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Of a line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(costs, 1e-9)), 1)[0])


def _slopes(runs: Sequence[Mapping[str, Any]], name: str) -> tuple[float, float]:
    """Over all sizes, and between the last two."""
    sizes, costs = [each["rows"] for each in runs], [each[name] for each in runs]
    return slope(sizes, costs), slope(sizes[-2:], costs[-2:])


def growth_sheet(found: Mapping[str, Any]) -> Sheet:
    """Costs at the smallest and the largest size, and the slopes."""
    rows = []
    for name, runs in found["parts"].items():
        first, last = runs[0], runs[-1]
        whole, end = _slopes(runs, "cpu_s")
        each = (last["peak_bytes"] - first["peak_bytes"]) / (last["rows"] - first["rows"])
        rows.append(
            (
                TITLES[name],
                f"{first['rows']:,} to {last['rows']:,}",
                *(_time(each["cpu_s"]) for each in (first, last)),
                f"{whole:.2f}",
                f"{end:.2f}",
                f"{last['peak_bytes'] / 2**20:,.0f}",
                f"{each:,.0f}",
            )
        )
    low, high = found["load"]
    return Sheet(
        title=f"Processor time of one process on {found['machine']}, at a load average of {low:.1f} to {high:.1f}; "
        f"commit {found['commit'][:7]}:",
        caption="",
        columns=("", "N", "CPU, least N", "CPU, most N", "slope", "last step", "peak MiB", "bytes a row more"),
        rows=rows,
        words=frozenset({"", "N"}),
    )


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:,.1f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def draw_growth(found: Mapping[str, Any], path: Path) -> None:
    """Processor time and memory over N, as a PNG on white."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.2), facecolor="white", layout="constrained")
    for axes, name, label, unit in zip(
        figure.subplots(1, 2), ("cpu_s", "peak_bytes"), ("processor seconds", "peak MiB"), (1, 2**20), strict=True
    ):
        for place, (part, runs) in enumerate(found["parts"].items()):
            style = {"color": f"C{place % 10}", "marker": "os^Dv"[place % 5], "linestyle": "-" if place < 10 else "--"}
            sizes, costs = [each["rows"] for each in runs], [max(each[name] / unit, 1e-4) for each in runs]
            axes.loglog(sizes, costs, label=f"{TITLES[part].replace('`', '')}: {_slopes(runs, name)[1]:.1f}", **style)
        axes.set_xlabel("N")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend(
            fontsize=7, title="with the slope of the last step", title_fontsize=7, ncols=2, loc="upper center",
            bbox_to_anchor=(0.5, -0.12),
        )  # fmt: skip
    figure.savefig(path, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
