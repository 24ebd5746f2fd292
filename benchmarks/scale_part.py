"""One size of :mod:`benchmarks.scale`, in a process of its own: ``python -m benchmarks.scale_part ROWS DIM OUT``."""

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import lancedb
import numpy as np
from numpy.typing import NDArray

from llave.files import write_json
from llave.search.lance import LanceStore
from llave.search.store import Row, Settings, row_id

CLUSTERS, QUERIES, ROUNDS = 1000, 20, 3
COMMIT = 10_000


def main() -> None:
    rows, dim, out = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    folder = Path(tempfile.mkdtemp(dir=out.parent))
    try:
        write_json(out, measured(rows, dim, folder))
    finally:
        shutil.rmtree(folder)


def measured(rows: int, dim: int, folder: Path) -> dict[str, float]:
    """Costs of a table of vectors that are drawn around a thousand centres, as llave's store keeps them."""
    store = LanceStore(folder, dim)
    write_cpu = write = 0.0
    for block in drawn(rows, dim):
        cpu, seconds = timed(lambda block=block: store.upsert(block, new=True))  # type: ignore[misc]
        write_cpu, write = write_cpu + cpu, write + seconds
    index_cpu, index = timed(lambda: store.optimize(exact_below=0, settings=Settings()))
    optimized = lancedb.connect(str(folder)).open_table("items")
    optimized.optimize(cleanup_older_than=timedelta(0))  # files of before, which the store keeps for ten minutes
    asked = [row.vector_D for row in next(drawn(QUERIES, dim, seed=1))]
    exact_ms, exact = searches(store, asked, exact=True)
    search_ms, found = searches(store, asked, exact=False)
    return {
        "rows": rows,
        "dim": dim,
        "write_cpu_s": write_cpu,
        "write_s": write,
        "index_cpu_s": index_cpu,
        "index_s": index,
        "disk_bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        "exact_cpu_ms": exact_ms,
        "search_cpu_ms": search_ms,
        "recall": float(np.mean([len(a & b) / len(a) for a, b in zip(exact, found, strict=True)])),
    }


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Processor seconds of this process, and seconds."""
    cpu, since = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - cpu, time.perf_counter() - since


def searches(
    store: LanceStore, asked: list[NDArray[np.float32] | None], *, exact: bool
) -> tuple[float, list[set[str]]]:
    """Processor milliseconds of a search, the median of some rounds after one of warming up; and what was found."""
    found: list[set[str]] = []
    took = []
    for round_ in range(1 + (1 if exact else ROUNDS)):
        found = []
        cpu = time.process_time()
        for query_D in asked:
            assert query_D is not None
            found.append({row.id for row, _ in store.nearest(query_D, limit=10, exact=exact)})
        if round_:
            took.append(1000 * (time.process_time() - cpu) / len(asked))
    return statistics.median(took), found


def drawn(rows: int, dim: int, seed: int = 0) -> Iterator[list[Row]]:
    """Rows with unit vectors, some at a time; the centres are the same for every seed."""
    center_KD = np.random.default_rng(2).standard_normal((CLUSTERS, dim), np.float32)
    rng = np.random.default_rng(seed)
    for first in range(0, rows, COMMIT):
        number = min(COMMIT, rows - first)
        vector_ND = center_KD[rng.integers(CLUSTERS, size=number)] + rng.standard_normal((number, dim), np.float32)
        vector_ND /= np.linalg.norm(vector_ND, axis=1, keepdims=True)
        yield [
            Row(id=row_id("scale", str(first + place)), source="scale", key=str(first + place), kind="text", text="",
                path="", file="", stamp="", content=f"{first + place:032x}", digest="", vector_D=vector_D)
            for place, vector_D in enumerate(vector_ND)
        ]  # fmt: skip


if __name__ == "__main__":
    main()
