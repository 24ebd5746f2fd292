"""What one thing takes at one size, in a process of its own: ``python -m benchmarks.growth_parts FOLDER PART=N …``.

``make`` writes a table and its index, whose vectors are drawn and not computed, to a folder of FOLDER, and other parts
of its size use them. Each adds a line to FOLDER/done.jsonl: processor seconds, and the peak of memory above what was in
use before; what stands there is not done again. What a part needs is imported, and has been done once, before.
"""

import functools
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.memory import peak_bytes

if TYPE_CHECKING:
    from llave.encode.item import Item
    from llave.search.index import Index

__all__ = ["PARTS", "write_table"]

DIM = 384
COMMIT = 256
SMALL = 300
REPEATS = 20
LONG_S = 4.0


def unit(rng: np.random.Generator, count: int, dim: int) -> NDArray[np.float32]:
    """Unit vectors (N, D), drawn."""
    vector_ND = rng.standard_normal((count, dim), np.float32)
    vector_ND /= np.linalg.norm(vector_ND, axis=1, keepdims=True)
    return vector_ND


def write_table(path: Path, rows: int) -> None:
    """A table of texts with an id, a group of ten and a year."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    columns = {
        "id": [f"item{number:07}" for number in range(rows)],
        "text": [f"a picture of thing {number} in place {number % 997}" for number in range(rows)],
        "tenth": [f"part {number % 10}" for number in range(rows)],
        "year": 1950 + np.arange(rows) * 7919 % 75,
    }
    parquet.write_table(pa.table(columns), path)


def write(rows: int, folder: Path) -> Callable[[], object]:
    """Vectors that are there, through the store's door, in commits as ``llave index`` makes them."""
    from llave.search.index import Index
    from llave.search.info import IndexInfo
    from llave.search.store import Row, row_id

    rng = np.random.default_rng(0)
    some_BD = unit(rng, COMMIT, DIM)
    index = Index.create(folder / "written", IndexInfo(model="none", fingerprint="none", dimension=DIM))

    def run() -> None:
        for first in range(0, rows, COMMIT):
            made = [
                Row(id=row_id("bench", str(first + place)), source="bench", key=str(first + place), kind="text",
                    text="", path="", file="", stamp="", content=f"{first + place:064x}", digest="",
                    fields={"tenth": f"part {place % 10}"}, vector_D=vector_D)
                for place, vector_D in enumerate(some_BD[: rows - first])
            ]  # fmt: skip
            index.store.upsert(made, new=True)

    return run


def update(_: int, folder: Path) -> Callable[[], object]:
    """``llave index`` over a table: at first all rows are new, then none."""
    run = updater()
    return lambda: run(folder / "table.parquet", folder / "index")


@functools.cache
def updater() -> Callable[[Path, Path], object]:
    """From a table and the folder of its index."""
    from llave.collection.collection import Columns
    from llave.collection.open import open_collection
    from llave.encode.encoder import Encoder
    from llave.models.open import load_model
    from llave.search.index import Index
    from llave.search.info import index_info
    from llave.search.options import BuildOptions
    from llave.search.update import update_index

    model = load_model("nano", device="cpu")
    rng = np.random.default_rng(0)
    dim = model.get_embedding_dimension() or 0

    def drawn(_: Any, items: Sequence["Item"], *__: Any, thumbnails: dict[int, bytes], **___: Any) -> Any:
        thumbnails |= dict.fromkeys(range(len(items)), b"")
        return list(unit(rng, len(items), dim))

    Encoder.encode = drawn  # type: ignore[method-assign]  # what is measured is the index, not the model
    options = BuildOptions(progress=False, make_map=False, weigh=False)

    def run(table: Path, path: Path) -> None:
        there = Index.exists(path)
        index = Index.open(path) if there else Index.create(path, index_info(model, "nano"))
        index.use_model(model)
        update_index(index, model, open_collection(table), table, options, Columns())

    with tempfile.TemporaryDirectory() as small:  # whatever is imported and compiled the first time
        write_table(Path(small) / "table.parquet", SMALL)
        for _ in range(2):
            run(Path(small) / "table.parquet", Path(small) / "index")
    return run


def make(rows: int, folder: Path) -> Callable[[], object]:
    """The table's index, made."""
    write_table(folder / "table.parquet", rows)
    return update(rows, folder)


def opened(folder: Path) -> "Index":
    from llave.search.index import Index

    return Index.open(folder / "index")


def search(exact: bool, filter: str = "") -> Callable[[int, Path], Callable[[], object]]:
    """One search by a vector."""

    def part(_: int, folder: Path) -> Callable[[], object]:
        index = opened(folder)
        (query_D,) = unit(np.random.default_rng(1), 1, index.info.dimension)
        options: dict[str, Any] = {"filter": filter} if filter else {}
        return lambda: index.search(query_D, limit=10, exact=exact, **options)

    return part


def count(_: int, folder: Path) -> Callable[[], object]:
    """How many rows pass a filter."""
    from llave.search.filters import as_filter

    index = opened(folder)
    conditions = as_filter("tenth = 'part 3' and year >= 1980")
    return lambda: index.store.count(conditions)


def browse(_: int, folder: Path) -> Callable[[], object]:
    """A first page by a field, which puts all rows in order."""
    from llave.search.browsing import Browsing

    index = opened(folder)

    def run() -> object:
        index._browsing = Browsing(index.store)  # which keeps no order yet
        return index.browse(sort="-year", limit=60)

    return run


def fields(_: int, folder: Path) -> Callable[[], object]:
    """What can be filtered by, and how many have each value."""
    index = opened(folder)
    return index.fields


def scoring(rows: int, _: Path) -> Callable[[], object]:
    """An evaluation's 32 queries over N candidates that they share."""
    from llave.evaluation.scoring import row_scores

    queries = 32
    vector_UD = unit(np.random.default_rng(0), rows + queries, DIM)
    numbers_N = np.arange(queries, rows + queries, dtype=np.int32)

    def run() -> None:
        for _scores in row_scores(vector_UD, range(queries), [numbers_N] * queries, [1] * queries):
            pass

    return run


def loss(rows: int, _: Path) -> Callable[[], object]:
    """The tiled loss of N pairs and its gradient."""
    import torch

    from benchmarks.loss import regime
    from llave.losses.functional import hardness_weighted_loss

    query_ND, target_ND = regime("hard", rows, DIM, dtype=torch.float32, device=torch.device("cpu"))

    def run() -> None:
        query_ND.grad = target_ND.grad = None
        hardness_weighted_loss(query_ND, target_ND, impl="tiled").backward()

    return run


PARTS: dict[str, tuple[Callable[[int, Path], Callable[[], object]], bool]] = {
    "write": (write, False),
    "make": (make, False),
    "again": (update, False),
    "search": (search(False), True),
    "filtered": (search(False, "tenth = 'part 3'"), True),
    "exact": (search(True), True),
    "count": (count, True),
    "browse": (browse, True),
    "fields": (fields, True),
    "scoring": (scoring, True),
    "loss": (loss, True),
}
"""Each part, and whether it may be done several times: then the first one is not measured, and the median counts."""


def measure(part: str, rows: int, folder: Path) -> dict[str, Any]:
    """Processor seconds and seconds of one run, the median of several, and the peak of the first."""
    prepare, repeated = PARTS[part]
    run = prepare(rows, folder)
    if repeated:
        run()
    times: list[tuple[float, float]] = []

    def timed() -> None:
        before, began = _cpu_seconds(), time.perf_counter()
        run()
        times.append((_cpu_seconds() - before, time.perf_counter() - began))

    peak = peak_bytes(timed)
    while repeated and len(times) < REPEATS and sum(seconds for _, seconds in times) < LONG_S:
        timed()
    cpu_s, seconds = (statistics.median(each) for each in zip(*times, strict=True))
    return {"part": part, "rows": rows, "cpu_s": cpu_s, "seconds": seconds, "peak_bytes": peak, "times": len(times)}


def _cpu_seconds() -> float:
    """Of all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(folder: Path, wanted: Sequence[str]) -> None:
    """Measure what is not done."""
    file = folder / "done.jsonl"
    done = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.is_file() else []
    known = {f"{each['part']}={each['rows']}" for each in done}
    for each in wanted:
        part, _, rows = each.partition("=")
        if each not in known:
            (folder / rows).mkdir(parents=True, exist_ok=True)
            found = measure(part, int(rows), folder / rows)
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({**found, "load": os.getloadavg()[0]}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
