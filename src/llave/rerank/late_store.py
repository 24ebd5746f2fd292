"""Token matrices of an index's items: a table of LanceDB's multivectors beside the index's own table."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from llave.data.door import reason_of
from llave.encode.late import Tokens
from llave.errors import UserError
from llave.files import write_json
from llave.search.lance_filter import one_of
from llave.storage.held import check_held
from llave.storage.location import Location

try:
    from lancedb.index import BTree, IvfSq

    from llave.search.lance_connect import connect, door
except ImportError:
    raise UserError("an index needs the package lancedb: pip install 'llave[search]'") from None

__all__ = ["LateInfo", "LateRow", "LateStore", "read_late_info"]

TABLE = "late"
FILE = "late.json"
KEEP_VERSIONS = timedelta(minutes=10)
IDS_AT_ONCE = 1000
TOKENS_PER_PART = 1000
"""Of the approximate index, about."""
REBUILD_AT = 2.0
"""Train the index anew when the table has grown by this factor since."""
PROBES = 64
OVERFETCH = 10
"""Times as many candidates as hits are asked of the approximate index: LanceDB puts them together token by token, and
with as many as hits half of the right ones are missing (tests/rerank/test_late_index.py)."""


@dataclass(frozen=True, kw_only=True)
class LateInfo:
    """What a store's tokens are of.

    Args:
        model: directory or hub id.
        fingerprint: of the model.
        dimensions: of a token's vector.
        factor: of token pooling.
    """

    model: str
    fingerprint: str
    dimensions: int
    factor: float


@dataclass(frozen=True, slots=True)
class LateRow:
    """Unit vectors (T, D) of an item of an index, by its id, and the hash of what the model saw."""

    id: str
    content: str
    tokens_TD: Tokens


def read_late_info(index: Location) -> LateInfo | None:
    """Of an index's folder; None where no tokens are stored.

    Raises:
        UserError: the file is damaged.
    """
    file = index / FILE
    if not file.is_file():
        return None
    try:
        return LateInfo(**json.loads(file.read_text("utf-8")))
    except Exception as error:  # whatever stands in it
        raise UserError(
            f"{file}: damaged ({reason_of(error)}); remove it, and llave index late makes it anew"
        ) from None


class LateStore:
    """Tokens in float16, scored by the mean over a query's tokens of the best cosine. One process may write.

    Args:
        index: the index's folder; its database is in it.
        uri: of the database.
        info: what the tokens are of. Where it is not what the folder says, the table before is dropped: tokens of two
            models have nothing to say to one another.
    """

    def __init__(self, index: Location, uri: Location, info: LateInfo) -> None:
        self.info = info
        self._uri = uri
        database = connect(uri)
        there = TABLE in database.list_tables().tables
        if there and read_late_info(index) != info:
            database.drop_table(TABLE)
            there = False
        token = pa.list_(pa.float16(), info.dimensions)
        self._schema = pa.schema(
            [pa.field("id", pa.string()), pa.field("content", pa.string()), pa.field("vector", pa.list_(token))]
        )
        self._table: Any = database.open_table(TABLE) if there else database.create_table(TABLE, schema=self._schema)
        if read_late_info(index) != info:
            write_json(index / FILE, asdict(info))

    def known(self) -> dict[str, str]:
        """Content of every row, by id."""
        found = self._table.search().select(["id", "content"]).to_arrow()
        return dict(zip(found["id"].to_pylist(), found["content"].to_pylist(), strict=True))

    def count(self) -> int:
        """Rows."""
        return int(self._table.count_rows())

    def upsert(self, rows: Sequence[LateRow]) -> None:
        """Add rows, and replace those of the same id; when this returns, they survive a kill."""
        if not rows:
            return
        flat = np.concatenate([row.tokens_TD for row in rows]).astype(np.float16)
        start = np.cumsum([0, *(len(row.tokens_TD) for row in rows)]).astype(np.int32)
        tokens = pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), self.info.dimensions)
        columns = [
            pa.array([row.id for row in rows]),
            pa.array([row.content for row in rows]),
            pa.ListArray.from_arrays(pa.array(start), tokens),
        ]
        with self._writing():
            table = pa.table(columns, schema=self._schema)
            self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(table)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove rows, if they are there."""
        for start in range(0, len(ids), IDS_AT_ONCE):
            with self._writing():
                self._table.delete(one_of("id", ids[start : start + IDS_AT_ONCE]))

    def get(self, ids: Sequence[str]) -> dict[str, Tokens]:
        """Tokens (T, D), float16, of the ids that are there."""
        rows: dict[str, Tokens] = {}
        for start in range(0, len(ids), IDS_AT_ONCE):
            where = one_of("id", ids[start : start + IDS_AT_ONCE])
            found = self._table.search().select(["id", "vector"]).where(where).to_arrow()
            for batch in found.to_batches():
                rows |= _tokens(batch, self.info.dimensions)
        return rows

    def nearest(self, query_TD: Tokens, limit: int, *, exact: bool = False) -> list[tuple[str, float]]:
        """The best rows: id and score in [-1, 1], best first.

        Args:
            query_TD: unit vectors of a query's tokens.
            exact: compare all rows, also where there is an approximate index.
        """
        search = self._table.search(query_TD.astype(np.float32), vector_column_name="vector").distance_type("cosine")
        if exact or not self._indexed():
            search = search.bypass_vector_index().limit(limit)
        else:
            search = search.nprobes(PROBES).refine_factor(1).limit(OVERFETCH * limit)  # 1: exact scores
        found = search.select(["id", "_distance"]).to_arrow()
        pairs = zip(found["id"].to_pylist(), found["_distance"].to_pylist(), strict=True)
        return [(row_id, 1.0 - distance / len(query_TD)) for row_id, distance in pairs][:limit]

    def optimize(self, *, exact_below: int) -> None:
        """Tidy up; with so many rows or more, an approximate index of their tokens (IVF, 8 bits)."""
        with self._writing():
            rows = self.count()
            if rows >= max(1, exact_below):
                if "id_idx" not in {index.name for index in self._table.list_indices()}:
                    self._table.create_index("id", config=BTree(), name="id_idx")
                stats = self._table.index_stats("vector_idx") if self._indexed() else None
                if stats is None or rows > REBUILD_AT * max(1, stats.num_indexed_rows):
                    tokens = rows * self.tokens_per_row()
                    parts = min(4096, max(16, round(tokens / TOKENS_PER_PART)))
                    config = IvfSq(distance_type="cosine", num_partitions=parts)
                    self._table.create_index("vector", config=config, name="vector_idx", replace=True)
            self._table.optimize(cleanup_older_than=KEEP_VERSIONS)

    def tokens_per_row(self) -> float:
        """On average, of the first rows."""
        found = self._table.search().select(["vector"]).limit(IDS_AT_ONCE).to_arrow()
        return sum(map(len, found["vector"])) / max(len(found), 1)

    def _indexed(self) -> bool:
        return "vector_idx" in {index.name for index in self._table.list_indices()}

    @contextmanager
    def _writing(self) -> Iterator[None]:
        check_held(str(self._uri))
        try:
            with door(self._uri):
                yield
        except (OSError, RuntimeError) as error:  # a full disk, no permission
            reason = reason_of(error).split(", /")[0]
            raise UserError(f"{self._uri}: cannot write ({reason}); the same command goes on") from None


def _tokens(batch: pa.RecordBatch, dimensions: int) -> Mapping[str, Tokens]:
    lists = batch.column("vector")
    flat = lists.flatten().flatten().to_numpy(zero_copy_only=False).reshape(-1, dimensions)
    end = np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False))
    return dict(zip(batch.column("id").to_pylist(), np.split(flat, end[:-1]), strict=True))
