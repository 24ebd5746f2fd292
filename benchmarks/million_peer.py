"""One engine with the vectors of :mod:`benchmarks.million`, in a process of its own.

``python -P benchmarks/million_peer.py ENGINE build|search FOLDER`` reads ``vectors.npy`` and ``queries.npy`` beside
FOLDER, keeps the engine's files in FOLDER/index, and prints one line of JSON. The peers have an environment of their
own, so that an engine imports nothing but what it needs. Every engine has one thread, as far as it can be told.
"""

import importlib.metadata
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["ENGINES", "KEPT", "SHARE", "Engine", "K"]

K = 10
SHARE = 10
"""One in so many rows passes the filter: those whose number leaves KEPT."""
KEPT = 3
AT_ONCE = 256
"""Rows that are handed over at once: what ``llave index`` commits at once."""
EF = (16, 32, 64, 128, 256, 512)
FEW = 50
"""Queries of an exact search, which are alike."""
HNSW = {"M": 16, "efConstruction": 100}
Search = Callable[[Any, bool], Sequence[int]]
"""From a query (D,), and whether the filter is on, to the numbers of the best rows."""


@dataclass(frozen=True, slots=True)
class Engine:
    """How an index is built and asked.

    Args:
        build: from the vectors' file and a folder to what is worth telling.
        open: from the folder to searches by their settings' names; the exact one is called ``exact``.
        package: whose version is told.
        filters: whether a search can be told to look at some rows only.
    """

    build: Callable[[Path, Path], dict[str, Any]]
    open: Callable[[Path], dict[str, Search]]
    package: str
    filters: bool = True


def chunks(path: Path, size: int) -> Iterator[Any]:
    """Vectors (B, D), read rather than mapped, so that the file is not counted as memory of whoever reads it."""
    shape = np.load(path, mmap_mode="r").shape
    with path.open("rb") as file:
        file.seek(path.stat().st_size - 4 * shape[0] * shape[1])
        for first in range(0, shape[0], size):
            count = min(size, shape[0] - first)
            yield np.fromfile(file, np.float32, count * shape[1]).reshape(count, shape[1])


def llave_build(vectors: Path, folder: Path) -> dict[str, Any]:
    """As ``llave index`` does after the model: commits of 256 rows, the index, its settings measured."""
    import dataclasses
    from datetime import timedelta

    import llave.search.lance
    from llave.search.check import find_settings
    from llave.search.index import Index
    from llave.search.info import IndexInfo
    from llave.search.options import EXACT_BELOW
    from llave.search.store import Row, row_id

    dim = np.load(vectors, mmap_mode="r").shape[1]
    index = Index.create(folder, IndexInfo(model="none", fingerprint="none", dimension=dim))
    empty = dict.fromkeys(("path", "file", "stamp", "digest"), "")
    start, number = time.perf_counter(), 0
    for vector_BD in chunks(vectors, AT_ONCE):
        rows = [
            Row(id=row_id("bench", str(place)), source="bench", key=str(place), kind="text", text=str(place),
                content=str(place), fields={"tenth": place % SHARE}, vector_D=vector_D, **empty)
            for place, vector_D in enumerate(vector_BD, number)
        ]  # fmt: skip
        index.store.upsert(rows, new=True)
        number += len(rows)
    inserted = time.perf_counter()
    index.store.optimize(exact_below=EXACT_BELOW, settings=index.info.settings)
    indexed = time.perf_counter()
    index.info = dataclasses.replace(index.info, settings=find_settings(index)[0])
    index.save()
    found = time.perf_counter()
    llave.search.lance.KEEP_VERSIONS = timedelta(0)  # the next run drops old versions, which would count twice
    index.store.optimize(exact_below=EXACT_BELOW, settings=index.info.settings)
    return {
        "insert_s": inserted - start,
        "index_s": indexed - inserted,
        "find_settings_s": found - indexed,
        "settings": {"probes": index.info.settings.probes, "refine": index.info.settings.refine},
    }


def llave_open(folder: Path) -> dict[str, Search]:
    from llave.search.index import Index

    index = Index.open(folder)
    only = f"tenth = {KEPT}"

    def search(query_D: Any, filtered: bool, *, exact: bool = False) -> list[int]:
        hits = index.search(query_D, limit=K, exact=exact, **({"filter": only} if filtered else {}))
        return [int(hit.text) for hit in hits]

    settings = index.info.settings
    own = f"probes {settings.probes}, refine {settings.refine}"
    return {own: search, "exact": lambda query_D, filtered: search(query_D, filtered, exact=True)}


def faiss_build(kind: str) -> Callable[[Path, Path], dict[str, Any]]:
    def build(vectors: Path, folder: Path) -> dict[str, Any]:
        import faiss

        faiss.omp_set_num_threads(1)
        rows, dim = np.load(vectors, mmap_mode="r").shape
        if kind == "flat":
            index = faiss.IndexFlatIP(dim)
        elif kind == "hnsw":
            index = faiss.IndexHNSWFlat(dim, HNSW["M"], faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = HNSW["efConstruction"]
        else:
            lists = int(4 * rows**0.5)
            index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
            index.cp.max_points_per_centroid = 64
            some = np.sort(np.random.default_rng(0).choice(rows, min(rows, 64 * lists), replace=False))
            index.train(np.load(vectors, mmap_mode="r")[some])
        for vector_BD in chunks(vectors, 10_000):
            index.add(vector_BD)
        folder.mkdir()
        faiss.write_index(index, str(folder / "index"))
        return {"lists": index.nlist} if kind == "ivf" else {}

    return build


def faiss_open(kind: str) -> Callable[[Path], dict[str, Search]]:
    def opened(folder: Path) -> dict[str, Search]:
        import faiss

        faiss.omp_set_num_threads(1)
        index = faiss.read_index(str(folder / "index"))
        passes_N = np.arange(index.ntotal) % SHARE == KEPT
        bits = np.packbits(passes_N, bitorder="little")
        only = faiss.IDSelectorBitmap(bits)
        made = {"flat": faiss.SearchParameters, "ivf": faiss.SearchParametersIVF, "hnsw": faiss.SearchParametersHNSW}

        def searching(**said: int) -> Search:
            plain, filtering = made[kind](**said), made[kind](sel=only, **said)

            def search(query_D: Any, filtered: bool) -> list[int]:
                found: list[int] = index.search(query_D[None], K, params=filtering if filtered else plain)[1][
                    0
                ].tolist()
                return found

            return search

        if kind == "flat":
            return {"exact": searching()}
        if kind == "hnsw":
            return {f"ef {ef}": searching(efSearch=ef) for ef in EF}
        return {f"probes {probes}": searching(nprobe=probes) for probes in (1, 2, 4, 8, 16, 32, 64, 128)}

    return opened


def usearch_build(dtype: str) -> Callable[[Path, Path], dict[str, Any]]:
    def build(vectors: Path, folder: Path) -> dict[str, Any]:
        from usearch.index import Index

        dim = np.load(vectors, mmap_mode="r").shape[1]
        index = Index(ndim=dim, metric="cos", dtype=dtype, connectivity=HNSW["M"], expansion_add=HNSW["efConstruction"])
        number = 0
        for vector_BD in chunks(vectors, 10_000):
            index.add(np.arange(number, number + len(vector_BD)), vector_BD, threads=1)
            number += len(vector_BD)
        folder.mkdir()
        index.save(str(folder / "index"))
        return {}

    return build


def usearch_open(folder: Path) -> dict[str, Search]:
    from usearch.index import Index

    index = Index.restore(str(folder / "index"))
    assert index is not None

    def searching(ef: int) -> Search:
        def search(query_D: Any, _: bool) -> list[int]:
            index.expansion_search = ef
            found: list[int] = index.search(query_D, K, threads=1).keys.tolist()
            return found

        return search

    return {f"ef {ef}": searching(ef) for ef in EF}


def qdrant_build(vectors: Path, folder: Path) -> dict[str, Any]:
    import qdrant_edge as edge

    dim = np.load(vectors, mmap_mode="r").shape[1]
    folder.mkdir()
    hnsw = edge.HnswIndexConfig(
        m=HNSW["M"], ef_construct=HNSW["efConstruction"], full_scan_threshold=10_000, max_indexing_threads=1
    )
    config = edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(size=dim, distance=edge.Distance.Cosine),
        hnsw_config=hnsw,
        optimizers=edge.EdgeOptimizersConfig(default_segment_number=1, max_segment_size=100_000_000),
        max_search_threads=1,
    )
    shard = edge.EdgeShard.create(str(folder), config)
    shard.update(edge.UpdateOperation.create_field_index("tenth", edge.PayloadSchemaType.Integer))
    number = 0
    for vector_BD in chunks(vectors, AT_ONCE):
        points = [
            edge.Point(place, vector, {"tenth": place % SHARE})
            for place, vector in enumerate(vector_BD.tolist(), number)
        ]
        shard.update(edge.UpdateOperation.upsert_points(points))
        number += len(points)
    shard.flush()
    shard.optimize()
    shard.flush()
    info = shard.info()
    found = {"segments": info.segments_count, "indexed": info.indexed_vectors_count}
    shard.close()
    return found


def qdrant_open(folder: Path) -> dict[str, Search]:
    import qdrant_edge as edge

    shard = edge.EdgeShard.load(str(folder))
    only = edge.Filter(must=[edge.FieldCondition("tenth", match=edge.MatchValue(KEPT))])

    def searching(ef: int) -> Search:
        params = edge.SearchParams(hnsw_ef=ef)

        def search(query_D: Any, filtered: bool) -> list[int]:
            asked = edge.SearchRequest(
                edge.Query.Nearest(query_D.tolist()), K, filter=only if filtered else None, params=params
            )
            return [int(point.id) for point in shard.search(asked)]

        return search

    return {f"ef {ef}": searching(ef) for ef in EF}


ENGINES = {
    "llave": Engine(llave_build, llave_open, "lancedb"),
    "FAISS exact": Engine(faiss_build("flat"), faiss_open("flat"), "faiss-cpu"),
    "FAISS IVF": Engine(faiss_build("ivf"), faiss_open("ivf"), "faiss-cpu"),
    "FAISS HNSW": Engine(faiss_build("hnsw"), faiss_open("hnsw"), "faiss-cpu"),
    "usearch HNSW, i8": Engine(usearch_build("i8"), usearch_open, "usearch", filters=False),
    "usearch HNSW, f16": Engine(usearch_build("f16"), usearch_open, "usearch", filters=False),
    "Qdrant Edge HNSW": Engine(qdrant_build, qdrant_open, "qdrant-edge-py"),
}


def build(engine: Engine, folder: Path) -> dict[str, Any]:
    """What a build takes, its imports included."""
    start, before = time.perf_counter(), _cpu_seconds()
    told = engine.build(folder.parent / "vectors.npy", folder / "index")
    seconds, cpu_seconds = time.perf_counter() - start, _cpu_seconds() - before
    size = sum(file.stat().st_size for file in (folder / "index").rglob("*") if file.is_file())
    version = importlib.metadata.version(engine.package)
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": _status("VmHWM"), "disk_bytes": size,
            "version": f"{engine.package} {version}", **told}  # fmt: skip


def search(engine: Engine, folder: Path) -> dict[str, Any]:
    """Every setting, without and with the filter: milliseconds of each query, and the rows found."""
    query_QD = np.load(folder.parent / "queries.npy")
    start = time.perf_counter()
    searches = engine.open(folder / "index")
    found: dict[str, Any] = {"open_s": time.perf_counter() - start, "settings": {}}
    for name, ask in searches.items():
        found["settings"][name] = {}
        asked_QD = query_QD[:FEW] if name == "exact" else query_QD
        for filtered in (False, True) if engine.filters else (False,):
            for query_D in asked_QD[: FEW // 5]:  # warm up
                ask(query_D, filtered)
            times, rows, before = [], [], _cpu_seconds()
            for query_D in asked_QD:
                begin = time.perf_counter()
                rows.append(list(ask(query_D, filtered)))
                times.append(1e3 * (time.perf_counter() - begin))
            cpu_ms = 1e3 * (_cpu_seconds() - before) / len(asked_QD)
            found["settings"][name]["tenth" if filtered else "all"] = {"ms": times, "cpu_ms": cpu_ms, "rows": rows}
    return {**found, "rss_bytes": _status("VmRSS"), "peak_bytes": _status("VmHWM")}


def _cpu_seconds() -> float:
    """Of all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _status(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    step = {"build": build, "search": search}[sys.argv[2]]
    sys.stdout.write(json.dumps(step(ENGINES[sys.argv[1]], Path(sys.argv[3]))) + "\n")
