"""100,000 vectors in an index: time to build, size, latency and recall, exact and approximate.

The vectors are synthetic: clusters, as embeddings form, with neighbours so close that quantisation can lose them.
Run: python -m benchmarks.index --out benchmarks/results, and with --small for fewer bits and dimensions. Of that, some
vectors are the same, and of some the first dimensions weigh most, as of a model that was trained for prefixes.
"""

import argparse
import dataclasses
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

import llave.search.lance
from benchmarks.provenance import provenance
from llave.search.check import check_index, find_settings
from llave.search.index import Index
from llave.search.info import IndexInfo
from llave.search.store import Row, Settings, SmallPrecision, row_id

__all__ = ["index_sheet", "small_sheet"]

CHUNK = 2000
FADE = 4.0
"""Of fading vectors, dimension d of D weighs exp(-FADE d / D): the first quarter has 87% of their squares."""
SMALL: tuple[tuple[str, SmallPrecision, int], ...] = (
    ("fading", "int8", 1),
    ("fading", "binary", 1),
    ("fading", "int8", 2),
    ("fading", "int8", 4),
    ("even", "binary", 1),
    ("even", "int8", 2),
)
"""With --small: the vectors, the precision, and which part of the dimensions."""
SHOWN = ("share", "recall", "worst", "p50_ms", "p95_ms", "exact_ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--clusters", type=int, default=500)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    llave.search.lance.KEEP_VERSIONS = timedelta(0)  # old versions would count twice
    found: dict[str, Any] = {**provenance(), "rows": args.rows, "dim": args.dim, "seed": args.seed}
    if args.small:
        found |= {"queries": args.queries, "measured": []}
        for data in dict.fromkeys(data for data, _, _ in SMALL):
            with _inserted(args, fade=FADE if data == "fading" else 0.0) as (index, folder, _):
                for _, precision, part in (each for each in SMALL if each[0] == data):
                    settings = Settings(precision=precision, prefix=None if part == 1 else args.dim // part)
                    found["measured"].append({"data": data, **_measure(index, folder, settings, args)})
                    _write(found, args.out, "small_100k.json")  # all that there is so far
        return
    with _inserted(args, fade=0.0) as (index, folder, seconds):
        found["insert_s"] = seconds
        found |= _measure(index, folder, Settings(), args)
    _write(found, args.out, "index_100k.json")


@contextmanager
def _inserted(args: argparse.Namespace, *, fade: float) -> Iterator[tuple[Index, Path, float]]:
    """An index without an approximate one, its folder, and the seconds that the rows took."""
    rng = np.random.default_rng(args.seed)
    centre_CD = rng.normal(size=(args.clusters, args.dim)).astype(np.float32)
    weight_D = np.exp(-fade * np.arange(args.dim) / args.dim).astype(np.float32)
    folder = Path(tempfile.mkdtemp())
    try:
        index = Index.create(folder / "index", IndexInfo(model="none", fingerprint="none", dimension=args.dim))
        start = time.perf_counter()
        for first in range(0, args.rows, CHUNK):
            count = min(CHUNK, args.rows - first)
            vector_BD = centre_CD[rng.integers(args.clusters, size=count)]
            vector_BD = vector_BD + 0.6 * rng.normal(size=vector_BD.shape).astype(np.float32)
            vector_BD *= weight_D
            vector_BD /= np.linalg.norm(vector_BD, axis=1, keepdims=True)
            index.store.upsert([_row(first + place, vector_D) for place, vector_D in enumerate(vector_BD)])
        seconds = time.perf_counter() - start
        index.store.optimize(exact_below=args.rows + 1, settings=Settings())
        yield index, folder, seconds
    finally:
        shutil.rmtree(folder)


def _measure(index: Index, folder: Path, settings: Settings, args: argparse.Namespace) -> dict[str, Any]:
    """The approximate index of these settings, and what searches find in it."""
    found: dict[str, Any] = {"precision": settings.precision, "prefix": settings.prefix}
    index.store.optimize(exact_below=args.rows + 1, settings=Settings())  # without columns of another one
    for each in index.store._table.list_indices():  # type: ignore[attr-defined]
        index.store._table.drop_index(each.name)  # type: ignore[attr-defined]
    index.store.optimize(exact_below=args.rows + 1, settings=Settings())
    found["flat_mb"] = _megabytes(folder)
    start = time.perf_counter()
    index.store.optimize(exact_below=20_000, settings=settings)
    found["build_s"] = time.perf_counter() - start
    found["index_mb"] = _megabytes(folder) - found["flat_mb"]
    index.store.optimize(exact_below=20_000, settings=settings)  # without what the first time has left behind
    found["first_stage_mb"] = sum(file.stat().st_size for file in folder.rglob("auxiliary.idx")) / 1e6
    start = time.perf_counter()
    index.info = dataclasses.replace(index.info, settings=settings)
    settings, _ = find_settings(index, seed=args.seed + 1)
    index.store.use(settings)
    found["find_settings_s"] = time.perf_counter() - start
    found["settings"] = {"probes": settings.probes, "refine": settings.refine}
    for name, each in zip(("all", "tenth"), check_index(index, queries=args.queries, seed=args.seed), strict=True):
        found[name] = {key: getattr(each, key) for key in SHOWN}
    return found


def _write(found: dict[str, Any], folder: Path | None, name: str) -> None:
    text = json.dumps(found, indent=2)
    print(text)  # noqa: T201
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text + "\n", "utf-8")


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


def small_sheet(found: dict[str, Any]) -> str:
    """First stages of fewer bits and dimensions side by side."""
    lines = [
        f"{found['rows']:,} vectors of {found['dim']} dimensions, {found['queries']} queries, {found['machine']}; "
        f"commit {found['commit'][:7]}:",
        "",
        "| vectors | first stage | its MB | build s | parts visited, candidates | recall@10 (mean, worst), of all "
        "| of a filter's tenth | p50 ms, of all | of a tenth | exact p50 ms |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for each in found["measured"]:
        settings, every, tenth = each["settings"], each["all"], each["tenth"]
        cells = (
            each["data"],
            f"{each['precision']} of {each['prefix'] or found['dim']}",
            f"{each['first_stage_mb']:.1f}",
            f"{each['build_s']:.1f}",
            f"{settings['probes']}, {10 * settings['refine']:,}",
            *(f"{one['recall']:.3f}, {one['worst']:.1f}" for one in (every, tenth)),
            *(f"{ms:.1f}" for ms in (every["p50_ms"], tenth["p50_ms"], every["exact_ms"])),
        )
        lines.append(f"| {' | '.join(cells)} |")
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
