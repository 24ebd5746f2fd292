"""100,000 vectors in an index: time to build, size, latency and recall, exact and approximate.

The vectors are synthetic: clusters, as embeddings form, with neighbours so close that quantisation can lose them.
Run: python -m benchmarks.index --out benchmarks/results
"""

import argparse
import json
import shutil
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

import llave.search.lance
from benchmarks.provenance import provenance
from llave.search.check import check_index, find_settings
from llave.search.index import Index
from llave.search.info import IndexInfo
from llave.search.store import Row, Settings, row_id

__all__ = ["index_sheet"]

CHUNK = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--clusters", type=int, default=500)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    llave.search.lance.KEEP_VERSIONS = timedelta(0)  # old versions would count twice
    rng = np.random.default_rng(args.seed)
    centre_CD = rng.normal(size=(args.clusters, args.dim)).astype(np.float32)
    found: dict[str, object] = {**provenance(), "rows": args.rows, "dim": args.dim, "seed": args.seed}
    folder = Path(tempfile.mkdtemp())
    try:
        index = Index.create(folder / "index", IndexInfo(model="none", fingerprint="none", dimension=args.dim))
        start = time.perf_counter()
        for first in range(0, args.rows, CHUNK):
            count = min(CHUNK, args.rows - first)
            vector_BD = centre_CD[rng.integers(args.clusters, size=count)]
            vector_BD = vector_BD + 0.6 * rng.normal(size=vector_BD.shape).astype(np.float32)
            vector_BD /= np.linalg.norm(vector_BD, axis=1, keepdims=True)
            index.store.upsert([_row(first + place, vector_D) for place, vector_D in enumerate(vector_BD)])
        found["insert_s"] = time.perf_counter() - start
        index.store.optimize(exact_below=args.rows + 1, settings=Settings())
        found["flat_mb"] = _megabytes(folder)
        start = time.perf_counter()
        index.store.optimize(exact_below=20_000, settings=Settings())
        found["build_s"] = time.perf_counter() - start
        found["index_mb"] = _megabytes(folder) - float(str(found["flat_mb"]))
        start = time.perf_counter()
        settings, _ = find_settings(index, seed=args.seed + 1)
        index.store.use(settings)
        found["find_settings_s"] = time.perf_counter() - start
        found["settings"] = {"probes": settings.probes, "refine": settings.refine}
        for name, each in zip(("all", "tenth"), check_index(index, queries=args.queries, seed=args.seed), strict=True):
            found[name] = {
                key: getattr(each, key) for key in ("share", "recall", "worst", "p50_ms", "p95_ms", "exact_ms")
            }
    finally:
        shutil.rmtree(folder)
    text = json.dumps(found, indent=2)
    print(text)  # noqa: T201
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "index_100k.json").write_text(text + "\n", "utf-8")


def index_sheet(found: dict[str, Any]) -> str:
    """What it takes to make the index, and what its searches find, and when."""
    settings = found["settings"]
    made = (
        ("insert, 2,000 rows a commit", found["insert_s"], f"{found['flat_mb']:.0f} MB"),
        ("build the IVF index", found["build_s"], f"and {found['index_mb']:.0f} MB"),
        ("find its settings", found["find_settings_s"],
         f"{settings['probes']} of 100 parts visited, {settings['refine']}0 candidates scored exactly"),
    )  # fmt: skip
    lines = [
        f"{found['rows']:,} vectors of {found['dim']} dimensions, {found['machine']}; commit {found['commit'][:7]}:",
        "",
        "| making it | s | |",
        "|---|---:|---|",
        *(f"| {name} | {seconds:.1f} | {about} |" for name, seconds, about in made),
        "",
        "| search for the ten best | recall@10 (mean, worst) | p50 ms | p95 ms | exact p50 ms |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, shown in (("all", "of all"), ("tenth", "of the tenth that passes a filter")):
        one = found[name]
        cells = (
            f"{one['recall']:.3f}, {one['worst']:.1f}",
            *(f"{one[key]:.1f}" for key in ("p50_ms", "p95_ms", "exact_ms")),
        )
        lines.append(f"| {shown} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _row(number: int, vector_D: np.ndarray) -> Row:
    return Row(
        id=row_id("bench", str(number)),
        source="bench",
        key=str(number),
        kind="text",
        text=f"item {number}",
        path="",
        file="",
        stamp="",
        content=str(number),
        digest="",
        fields={"tenth": f"part {number % 10}"},
        vector_D=vector_D,
    )


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
