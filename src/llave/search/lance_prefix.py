"""The first stage of an approximate search in a LanceDB table: which column it compares, and the index over that.

Where it compares the whole vector, that is the column ``vector``, and LanceDB scores the best candidates by it again.
Where it compares the first dimensions only (Matryoshka prefixes, arXiv 2205.13147), they stand at unit length in a
column of their own, since an index takes a whole one. That column is filled under another name and renamed when it is
full: whoever finds it by its name may trust that every row has its numbers.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from lancedb.index import IvfRq, IvfSq
from numpy.typing import NDArray

from llave.bulk.precision import truncate
from llave.search.store import Row, Settings

__all__ = [
    "FirstStage",
    "build_first",
    "by_prefix",
    "drop_others",
    "fill_prefix",
    "first_stage",
    "is_prefix",
    "matrix_of",
    "prefix_columns",
]

PREFIX, FILLING = "_prefix", "_filling"
"""Beginnings of columns that no field's column has, since an underscore at the beginning of a field is escaped. (``$``
would do, but LanceDB does not bring an index of such a column up to date.)"""
NAME = re.compile(r"_(?:prefix|filling)(\d+)")
BYTE = 8
"""LanceDB's binary index takes dimensions by the byte; zeros fill the last one, which changes no cosine."""
ROWS_PER_PART = 1000
"""Of the index, about: few enough for a fast k-means, and for a part to be scanned in well under 1 ms."""
REBUILD_AT = 2.0
"""Train the index anew when the table has grown by this factor since."""
ROWS_AT_ONCE = 4000
MANY = 10_000
"""No more candidates are scored exactly at once, unless more hits are wanted: their vectors are in memory."""
KINDS = {"int8": "IvfSq", "binary": "IvfRq"}
"""What LanceDB calls the indices."""


@dataclass(frozen=True, slots=True)
class FirstStage:
    """What the first stage compares.

    Args:
        column: of the table.
        index: its name.
        length: dimensions of the vector that stand in it.
        precision: of the index.
    """

    column: str
    index: str
    length: int
    precision: str

    @property
    def own(self) -> bool:
        """Whether the column is another one than the vector's."""
        return self.column != "vector"

    @property
    def filling(self) -> str:
        """The column's name until it is full."""
        return f"{FILLING}{self.length}"


def first_stage(settings: Settings, dimension: int) -> FirstStage:
    """What these settings compare first, of vectors of a dimension; a prefix that is not shorter is the whole."""
    length = min(settings.prefix or dimension, dimension)
    if length == dimension and (settings.precision == "int8" or dimension % BYTE == 0):
        return FirstStage("vector", "vector_idx", length, settings.precision)
    return FirstStage(f"{PREFIX}{length}", f"prefix{length}_idx", length, settings.precision)


def is_prefix(column: str) -> bool:
    """Whether a column holds first dimensions, all of them or not yet."""
    return NAME.fullmatch(column) is not None


def prefix_columns(names: Iterable[str], vector_ND: NDArray[np.float32]) -> dict[str, pa.Array]:
    """What stands in those columns of a table that hold first dimensions."""
    found = {name: NAME.fullmatch(name) for name in names}
    return {name: _fixed(_prefix(vector_ND, int(match[1]))) for name, match in found.items() if match}


def fill_prefix(table: Any, stage: FirstStage, rows_of: Callable[[Sequence[str]], Iterable[Row]]) -> None:
    """Make the column of a first stage, or go on with it where a killed run left it.

    Args:
        rows_of: from ids to the rows with their vectors.
    """
    if stage.column in table.schema.names:
        return
    if stage.filling not in table.schema.names:
        width = stage.length + -stage.length % BYTE
        table.add_columns(pa.schema([pa.field(stage.filling, pa.list_(pa.float32(), width))]))
    ids = table.search().select(["id"]).where(f"`{stage.filling}` IS NULL").to_arrow()["id"].to_pylist()
    for start in range(0, len(ids), ROWS_AT_ONCE):
        rows = list(rows_of(ids[start : start + ROWS_AT_ONCE]))
        vector_ND = np.stack([row.vector_D for row in rows if row.vector_D is not None])
        content = pa.table({"id": [row.id for row in rows], **prefix_columns([stage.filling], vector_ND)})
        table.merge_insert("id").when_matched_update_all().execute(content)
    table.alter_columns({"path": stage.filling, "rename": stage.column})


def num_parts(rows: int) -> int:
    """Of an approximate index of so many rows."""
    return min(4096, max(16, rows // ROWS_PER_PART))


def build_first(table: Any, stage: FirstStage, rows: int) -> None:
    """The index over a first stage's column, if there is none of its kind yet, or one of far fewer rows."""
    kinds = {index.name: index.index_type for index in table.list_indices()}
    stats = table.index_stats(stage.index) if kinds.get(stage.index) == KINDS[stage.precision] else None
    if stats is None or rows > REBUILD_AT * max(1, stats.num_indexed_rows):
        kind = IvfRq if stage.precision == "binary" else IvfSq
        config = kind(distance_type="cosine", num_partitions=num_parts(rows))
        table.create_index(stage.column, config=config, name=stage.index, replace=True)
    if stage.own and "vector_idx" in kinds:
        table.drop_index("vector_idx")


def by_prefix(
    table: Any, query_D: NDArray[np.float32], stage: FirstStage, settings: Settings, *, limit: int, where: str | None
) -> dict[str, float] | None:
    """Ids and cosines of the best rows, best first: candidates by their first dimensions, and of them the best by
    their whole vectors. None where the query has no direction in these dimensions, or the table no such column.

    Args:
        where: SQL that rows have to pass.
    """
    prefix_D = _prefix(query_D[None], stage.length)[0]
    if stage.column not in table.schema.names or not prefix_D.any():
        return None
    search = table.search(prefix_D, vector_column_name=stage.column).distance_type("cosine")
    search = search.limit(max(limit, min(MANY, limit * settings.refine))).nprobes(settings.probes)
    if where:
        search = search.where(where, prefilter=True)
    found = search.select(["id", "vector", "_distance"]).to_arrow()
    score_N = matrix_of(found["vector"]) @ query_D
    best = np.argsort(-score_N, kind="stable")[:limit]
    return {found["id"][int(place)].as_py(): float(score_N[place]) for place in best}


def matrix_of(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Vectors (N, D) of a column of them."""
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float32).reshape(-1, column.type.list_size)


def drop_others(table: Any, stage: FirstStage) -> None:
    """Remove the columns of other first stages, and their indices with them."""
    gone = [name for name in table.schema.names if is_prefix(name) and name not in (stage.column, stage.filling)]
    if gone:
        table.drop_columns(gone)


def _prefix(vector_ND: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """The first dimensions at unit length, and zeros up to whole bytes. (N, D) → (N, ``length`` rounded up to 8)."""
    return np.pad(truncate(vector_ND, length), ((0, 0), (0, -length % BYTE)))


def _fixed(array_NK: NDArray[np.float32]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(array_NK).reshape(-1)), array_NK.shape[1])
