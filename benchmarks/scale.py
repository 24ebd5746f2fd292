"""What an index costs from a hundred thousand to a thousand million items: measured, fitted, checked, then counted on.

Vectors are drawn, not computed: writing them, the approximate index, its size and its searches are measured at several
numbers of rows and two widths (``--work`` keeps what was done; a size is done in a process of its own, of one thread).
Each cost is a sum of terms with a meaning (rows, numbers, comparisons with the parts' centres), whose weights are
fitted on the small sizes alone, none below zero; the large ones check the curve. :func:`plan` counts with the weights.

    python -m benchmarks.scale --work DIR --out benchmarks/results/scale.json
    python -m benchmarks.scale --plan 1_000_000_000 --dim 1536 --items_per_second 400   # from the committed weights
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from benchmarks.million import THREADS
from benchmarks.provenance import provenance
from benchmarks.sheet import Sheet
from llave.errors import UserError
from llave.files import write_json
from llave.search.store import Settings

__all__ = ["check_sheet", "fit", "plan", "plan_sheet", "predict"]

FITTED = ((100_000, 32), (300_000, 32), (1_000_000, 32), (30_000, 384), (100_000, 384), (300_000, 384))
CHECKED = ((3_000_000, 32), (10_000_000, 32))
"""Rows and dimensions."""
RESULT = Path(__file__).parent / "results/scale.json"
Terms = Callable[[float, float], tuple[float, ...]]


def lists(rows: float) -> float:
    """Parts of an index of so many rows."""
    from llave.search.lance_prefix import num_parts  # LanceDB takes seconds to import

    return num_parts(int(rows))


COSTS: Mapping[str, tuple[str, Terms]] = {
    "write_cpu_s": ("CPU seconds to write", lambda rows, dim: (rows, rows * dim)),
    "index_cpu_s": (
        "CPU seconds to index",
        lambda rows, dim: (rows, rows * dim, rows * dim * lists(rows)),
    ),
    "disk_bytes": ("bytes on disk", lambda rows, dim: (rows, rows * dim)),
    "exact_cpu_ms": ("CPU ms, exact search", lambda rows, dim: (1, rows, rows * dim)),
    "search_cpu_ms": (
        "CPU ms, approximate search",
        lambda rows, dim: (1, rows, lists(rows) * dim, Settings().probes * rows / lists(rows) * dim),
    ),
}
"""Of each measured cost: its name, and its terms for rows and dimensions."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an index of so many items costs.

    Args:
        rows: items.
        shards: indexes that they are spread over.
        embed_hours: of devices, at the rate that the caller names.
        write_hours: of one core, with making the approximate indexes.
        disk_gb: of vectors in float32, the approximate index's, and each row's own.
        vector_gb: of the vectors alone, by precision.
        search_ms: of one core in each shard, for one query that all shards answer.
        exact_ms: the same, exactly.
    """

    rows: int
    shards: int
    embed_hours: float
    write_hours: float
    disk_gb: float
    vector_gb: Mapping[str, float]
    search_ms: float
    exact_ms: float


def fit(runs: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Weights of the terms of every cost, none below zero, by least squares of relative errors."""
    weights = {}
    for name, (_, terms) in COSTS.items():
        cost_N = np.array([run[name] for run in runs])
        term_NT = np.array([terms(run["rows"], run["dim"]) for run in runs], float)
        scale_T = term_NT.max(axis=0)
        found_T, _ = nnls(term_NT / scale_T / cost_N[:, None], np.ones(len(runs)))
        weights[name] = (found_T / scale_T).tolist()
    return weights


def predict(weights: Mapping[str, Sequence[float]], name: str, rows: float, dim: float) -> float:
    """A cost at another size."""
    return float(np.dot(weights[name], COSTS[name][1](rows, dim)))


def plan(
    weights: Mapping[str, Sequence[float]], rows: int, dim: int, *, items_per_second: float, rows_per_shard: int
) -> Plan:
    """Count what an index takes, on cores like those that were measured.

    Args:
        weights: of :func:`fit`.
        items_per_second: that one device embeds.
        rows_per_shard: at most.
    """
    shards = -(-rows // rows_per_shard)
    each = rows / shards
    sizes = {"float32": 4 * dim, "float16": 2 * dim, "int8": dim + 4, "binary": dim / 8}
    return Plan(
        rows=rows,
        shards=shards,
        embed_hours=rows / items_per_second / 3600,
        write_hours=shards * sum(predict(weights, name, each, dim) for name in ("write_cpu_s", "index_cpu_s")) / 3600,
        disk_gb=shards * predict(weights, "disk_bytes", each, dim) / 1e9,
        vector_gb={name: rows * size / 1e9 for name, size in sizes.items()},
        search_ms=predict(weights, "search_cpu_ms", each, dim),
        exact_ms=predict(weights, "exact_cpu_ms", each, dim),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="large; may be removed afterwards")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--most", type=int, default=max(rows for rows, _ in CHECKED), help="rows")
    parser.add_argument("--plan", type=int, help="rows of an index to count on")
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--items_per_second", type=float, default=100)
    parser.add_argument("--rows_per_shard", type=int, default=10_000_000)
    args = parser.parse_args()
    if args.plan is not None:
        found = json.loads(RESULT.read_text("utf-8"))
        counted = plan(
            found["weights"],
            args.plan,
            args.dim,
            items_per_second=args.items_per_second,
            rows_per_shard=args.rows_per_shard,
        )
        sys.stdout.write(json.dumps(vars(counted), indent=1) + "\n")
        return
    if args.work is None:
        parser.error("--work or --plan")
    measured = measure(args.work, args.most)
    about = {**provenance(), "command": f"scale.py --most {args.most}"}
    if args.out is None:
        sys.stdout.write(json.dumps(measured, indent=1) + "\n")
    else:
        write_json(args.out, {**about, **measured}, indent=1)


def measure(work: Path, most: int) -> dict[str, Any]:
    """Every size up to ``most`` rows, and the weights of those that are fitted.

    Raises:
        UserError: a process fails.
    """
    work.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict[str, float]]] = {"fitted": [], "checked": []}
    for kind, sizes in (("fitted", FITTED), ("checked", CHECKED)):
        for rows, dim in sizes:
            if rows > most:
                continue
            file = work / f"{rows}-{dim}.json"
            if not file.is_file():
                words = [sys.executable, "-m", "benchmarks.scale_part", str(rows), str(dim), str(file)]
                done = subprocess.run(
                    words, stderr=subprocess.PIPE, text=True, env={**os.environ, **THREADS}, check=False
                )
                if done.returncode:
                    raise UserError(f"{rows} rows: it ended with {done.returncode}: {done.stderr[-2000:]}")
            found[kind].append(json.loads(file.read_text("utf-8")))
    return {**found, "weights": fit(found["fitted"])}


def check_sheet(found: Mapping[str, Any]) -> Sheet:
    """What was measured at the sizes that were not fitted, beside what the fitted curve says."""
    rows = []
    for run in found["checked"]:
        for name, (title, _) in COSTS.items():
            expected = predict(found["weights"], name, run["rows"], run["dim"])
            rows.append(
                (
                    f"{int(run['rows']):,} x {int(run['dim'])}",
                    title,
                    f"{run[name]:,.4g}" if run[name] < 1e5 else f"{run[name]:,.0f}",
                    f"{expected:,.4g}" if expected < 1e5 else f"{expected:,.0f}",
                    f"{expected / run[name]:.2f}",
                )
            )
    return Sheet(
        title=f"Measured at sizes that the curve was not fitted on, one thread of {found['machine']}; commit "
        f"{found['commit'][:7]}:",
        caption="",
        columns=("rows x dimensions", "cost", "measured", "the curve", "ratio"),
        rows=rows,
        words=frozenset({"rows x dimensions", "cost"}),
        apart=1,
    )


def plan_sheet(found: Mapping[str, Any]) -> Sheet:
    """From a million to a thousand million items of 384 dimensions, ten million a shard."""
    plans = [
        plan(found["weights"], rows, 384, items_per_second=100, rows_per_shard=10_000_000)
        for rows in (10**6, 10**7, 10**8, 10**9)
    ]
    return Sheet(
        title=f"384 dimensions, shards of ten million, cores of {found['machine']}; embedded at 100 items a second and "
        "device, a number to replace by your own:",
        caption="",
        columns=(
            "items", "shards", "device hours to embed", "core hours to write and index", "GB on disk",
            "GB of vectors, float32 / float16 / int8 / binary", "core ms a query and shard", "exact",
        ),
        rows=[
            (
                f"{each.rows:,}",
                f"{each.shards}",
                f"{each.embed_hours:,.0f}",
                f"{each.write_hours:,.1f}",
                f"{each.disk_gb:,.1f}",
                " / ".join(f"{size:,.3g}" if size < 1000 else f"{size:,.0f}" for size in each.vector_gb.values()),
                f"{each.search_ms:,.0f}",
                f"{each.exact_ms:,.0f}",
            )
            for each in plans
        ],
        words=frozenset(),
    )  # fmt: skip


if __name__ == "__main__":
    main()
