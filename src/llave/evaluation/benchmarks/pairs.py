"""A table with a text and a picture in each row as a benchmark of two tasks: text to picture, and picture to text."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from llave.collection.collection import Columns
from llave.collection.entry import Entry
from llave.collection.table import TableCollection
from llave.data.inline import kept_file
from llave.data.mmeb import EvalRow, RowItem
from llave.data.row_ids import content_id
from llave.data.training_pictures import picture_digest
from llave.errors import DataError, UserError
from llave.evaluation.benchmarks.places import Place
from llave.evaluation.benchmarks.task import Benchmark, Task, TaskData

__all__ = ["pairs_benchmark"]

READERS = 8


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Distinct texts and pictures by their content's ids, which of them stand in a row together, and bad rows."""

    texts: dict[int, RowItem]
    pictures: dict[int, RowItem]
    pairs: Sequence[tuple[int, int]]
    bad: Sequence[DataError]


def pairs_benchmark(
    path: Path, *, columns: Columns | None = None, candidates: int | None = None, seed: int = 0
) -> Benchmark:
    """Tasks ``t2i`` and ``i2t``.

    Every distinct text is a query, and every distinct picture; what stands in a row with it, anywhere in the table, is
    relevant: all captions of a picture, all pictures of a caption. Equal is what has equal content.

    Args:
        columns: which column holds what; the usual names, or the names of files, tell otherwise.
        candidates: that a query faces, its relevant ones among them and the others drawn by seed; None is all.

    Raises:
        UserError: no column with a text or a picture.
    """
    if candidates is not None and candidates < 2:
        raise UserError(f"--candidates must be at least 2, got {candidates}")
    table = TableCollection(path, columns or Columns())
    missing = [name for name in ("text", "image") if name not in table.chosen.columns]
    if missing:
        raise UserError(
            f"{path}: no column with a {missing[0]}; name it with --columns.{missing[0]} ({table.chosen}). A folder in "
            "MMEB's format is a benchmark too"
        )
    read = cache(lambda: _read(table))  # for both tasks

    def task(name: str, to_picture: bool) -> Task:
        return Task(
            name=name,
            meta_task="retrieval",
            split=None,
            folder=Place(path.parent),
            read=lambda: _data(read(), to_picture, candidates, seed),
            where=str(path),
        )

    return Benchmark(path.stem, [task("t2i", True), task("i2t", False)], f"{path.name}: {table.chosen}")


def _read(table: TableCollection) -> _Pairs:
    bad: list[DataError] = []
    items: list[tuple[str, str]] = []
    for number, entry in enumerate(table, start=1):
        if not isinstance(entry, Entry):
            bad.append(DataError(entry.message))
        elif not entry.item.text or entry.item.image is None:
            lacks = "text" if not entry.item.text else "picture"
            bad.append(DataError(f"{table.path.name} row {number}: no {lacks}"))
        else:
            image = entry.item.image
            assert isinstance(image, Path | bytes), "a table holds no open pictures"
            file = kept_file(image) if isinstance(image, bytes) else image
            items.append(
                (entry.item.text, str(file.relative_to(table.root) if file.is_relative_to(table.root) else file))
            )
    names = list(dict.fromkeys(name for _, name in items))
    with ThreadPoolExecutor(READERS) as pool:
        digests = dict(zip(names, pool.map(lambda name: picture_digest(table.root / name), names), strict=True))
    found = _Pairs({}, {}, [], bad)
    pairs: dict[tuple[int, int], None] = {}
    for text, name in items:
        pair = content_id(text), content_id("", digests[name])
        found.texts.setdefault(pair[0], RowItem(text))
        found.pictures.setdefault(pair[1], RowItem("", name))
        pairs[pair] = None
    if not pairs:
        raise bad[0] if bad else DataError(f"{table.path}: no rows")
    return _Pairs(found.texts, found.pictures, list(pairs), bad)


def _data(found: _Pairs, to_picture: bool, candidates: int | None, seed: int) -> TaskData:
    queries, targets = (found.texts, found.pictures) if to_picture else (found.pictures, found.texts)
    relevant: dict[int, list[int]] = {}
    for text, picture in found.pairs:
        relevant.setdefault(text if to_picture else picture, []).append(picture if to_picture else text)
    everything = list(targets)
    generator = np.random.default_rng([seed, to_picture])
    rows = []
    for query, own in relevant.items():
        chosen = own
        if candidates is not None:
            few = min(len(everything), candidates + len(own))  # as many as there are when the relevant ones fall away
            drawn = (everything[place] for place in generator.choice(len(everything), few, replace=False))
            others = [target for target in drawn if target not in own]
            chosen = [*own, *others[: max(candidates - len(own), 0)]]
        rows.append(EvalRow(queries[query], tuple(targets[target] for target in chosen), (1.0,) * len(own)))
    # What cannot be read is no row of either task; it is counted once.
    return TaskData(rows, () if candidates is not None else tuple(targets.values()), found.bad if to_picture else ())
