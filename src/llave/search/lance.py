"""An index in a LanceDB database: a folder on this machine, or an address that LanceDB opens (``s3://…``)."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from llave.data.door import named, reason_of
from llave.data.identity import legible
from llave.errors import UserError
from llave.search.fields import check_conditions, check_sort, in_order, new_fields
from llave.search.filters import Condition, Filter
from llave.search.store import FieldType, Known, Row, Settings, StoreStats

try:
    import lancedb
    from lancedb.index import BTree, IvfSq
except ImportError:
    raise UserError("an index needs the package lancedb: pip install 'llave[search]'") from None

__all__ = ["LanceStore", "drop_table"]

TABLE = "items"
TEXTS = ("id", "source", "key", "kind", "text", "path", "file", "stamp", "content", "digest")
OWN = (*TEXTS, "thumbnail", "vector")
TYPES: dict[FieldType, pa.DataType] = {"string": pa.string(), "number": pa.float64(), "boolean": pa.bool_()}
SQL_TYPES: dict[FieldType, str] = {"string": "string", "number": "double", "boolean": "boolean"}
KEEP_VERSIONS = timedelta(minutes=10)
"""Old versions stay this long, for the searches of other processes that have them open."""
FRESH = timedelta(seconds=2)
"""A reader sees what a writer committed after this time at most."""
ROWS_PER_PART = 1000
"""Of the approximate index, about: few enough for a fast k-means, and for a part to be scanned in well under 1 ms."""
REBUILD_AT = 2.0
"""Train the index anew when the table has grown by this factor since."""
IDS_AT_ONCE = 1000


class LanceStore:
    """Rows in a LanceDB table.

    Approximate search is IVF with 8-bit scalar quantisation and exact scores of the best candidates. Of LanceDB's
    index types it is the one that lost nothing on close vectors; IVF_PQ and IVF_RQ did (docs/search.md).

    Args:
        uri: of the database.
        dimension: of the vectors; creates the table if there is none.
        name: of the table.
    """

    def __init__(self, uri: str | Path, dimension: int, name: str = TABLE) -> None:
        self._uri = uri
        self._dimension = dimension
        self._settings = Settings()
        database = lancedb.connect(str(uri), read_consistency_interval=FRESH)
        schema = pa.schema(
            [pa.field(name, pa.string()) for name in TEXTS]
            + [pa.field("thumbnail", pa.binary()), pa.field("vector", pa.list_(pa.float32(), dimension))]
        )
        there = name in database.list_tables().tables
        self._table: Any = database.open_table(name) if there else database.create_table(name, schema=schema)

    def upsert(self, rows: Sequence[Row]) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        if not rows:
            return
        columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in (*TEXTS, "thumbnail")}
        types = self._grow(rows)
        for name in types:
            columns[name] = [row.fields.get(name) for row in rows]
        vector_BD = np.stack([_required(row) for row in rows])
        arrays = {name: pa.array(values, self._table.schema.field(name).type) for name, values in columns.items()}
        arrays["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vector_BD.reshape(-1)), self._dimension)
        table = pa.table([arrays[name] for name in self._table.schema.names], schema=self._table.schema)
        with self._writing():
            self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(table)

    def delete(self, ids: Sequence[str]) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        for start in range(0, len(ids), IDS_AT_ONCE):
            with self._writing():
                self._table.delete(_one_of("id", ids[start : start + IDS_AT_ONCE]))

    def relocate(self, old: str, new: str) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        with self._writing():
            self._table.update(where=f"source = {_sql(old)}", values={"source": new})

    def known(self, source: str) -> dict[str, Known]:
        """See :class:`~llave.search.store.VectorStore`."""
        found = self._scan(["id", "stamp", "content", "digest"], f"source = {_sql(source)}")
        columns = [found[name].to_pylist() for name in ("id", "stamp", "content", "digest")]
        return {row_id: Known(*rest) for row_id, *rest in zip(*columns, strict=True)}

    def count(self, conditions: Filter = ()) -> int:
        """See :class:`~llave.search.store.VectorStore`."""
        return int(self._table.count_rows(self._where(conditions)))

    def nearest(
        self, query_D: NDArray[np.float32], *, limit: int, conditions: Filter = (), exact: bool = False
    ) -> list[tuple[Row, float]]:
        """See :class:`~llave.search.store.VectorStore`."""
        columns = [name for name in self._table.schema.names if name not in ("thumbnail", "vector")]
        search = self._table.search(query_D, vector_column_name="vector").distance_type("cosine")
        search = search.limit(limit).select([*columns, "_distance"])
        if exact:
            search = search.bypass_vector_index()
        else:
            search = search.nprobes(self._settings.probes).refine_factor(self._settings.refine)
        if where := self._where(conditions):
            search = search.where(where, prefilter=True)
        fields = self.fields()
        return [(_row(found, fields), 1.0 - found["_distance"]) for found in search.to_arrow().to_pylist()]

    def browse(
        self, *, conditions: Filter = (), sort: str | None = None, descending: bool = False, limit: int, offset: int = 0
    ) -> list[Row]:
        """See :class:`~llave.search.store.VectorStore`."""
        field = check_sort(sort, self.fields())
        query = self._table.search().select(list({"id", "key", field}))
        if where := self._where(conditions):
            query = query.where(where)
        found = query.to_arrow()
        places = in_order(found[field].to_pylist(), found["key"].to_pylist(), descending)[offset : offset + limit]
        ids = [found["id"][place].as_py() for place in places]
        rows = self.get(ids)
        return [rows[row_id] for row_id in ids if row_id in rows]

    def get(self, ids: Sequence[str], *, vectors: bool = False, thumbnails: bool = False) -> dict[str, Row]:
        """See :class:`~llave.search.store.VectorStore`."""
        without = {name for name, wanted in (("vector", vectors), ("thumbnail", thumbnails)) if not wanted}
        columns = [name for name in self._table.schema.names if name not in without]
        rows, fields = {}, self.fields()
        for start in range(0, len(ids), IDS_AT_ONCE):
            for found in self._scan(columns, _one_of("id", ids[start : start + IDS_AT_ONCE])).to_pylist():
                rows[found["id"]] = _row(found, fields)
        return rows

    def vectors(self, *, limit: int | None, conditions: Filter = ()) -> tuple[list[str], NDArray[np.float32]]:
        """See :class:`~llave.search.store.VectorStore`."""
        query = self._table.search().select(["id"]).with_row_id(True)
        if where := self._where(conditions):
            query = query.where(where)
        found = query.to_arrow().sort_by("id")
        if limit is not None and len(found) > limit:
            found = found.take(np.linspace(0, len(found) - 1, limit).astype(int))
        if not len(found):
            return [], np.zeros((0, self._dimension), np.float32)
        taken = self._table.take_row_ids(found["_rowid"].to_pylist()).select(["id", "vector"]).to_arrow()
        flat = taken["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return taken["id"].to_pylist(), np.asarray(flat, np.float32).reshape(-1, self._dimension)

    def fields(self) -> dict[str, FieldType]:
        """See :class:`~llave.search.store.VectorStore`."""
        names = {kind: name for name, kind in TYPES.items()}
        return {field.name: names[field.type] for field in self._table.schema if field.name not in OWN}

    def column(self, names: Sequence[str]) -> Mapping[str, list[Any]]:
        """See :class:`~llave.search.store.VectorStore`."""
        found = self._scan(list(names))
        return {name: found[name].to_pylist() for name in names}

    def optimize(self, *, exact_below: int, settings: Settings) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        self.use(settings)
        with self._writing():
            self._optimize(exact_below)

    def _optimize(self, exact_below: int) -> None:
        rows, indices = self._table.count_rows(), {index.name for index in self._table.list_indices()}
        if rows >= max(1, exact_below):
            if "id_idx" not in indices:
                self._table.create_index("id", config=BTree(), name="id_idx")
            stats = self._table.index_stats("vector_idx") if "vector_idx" in indices else None
            if stats is None or rows > REBUILD_AT * max(1, stats.num_indexed_rows):
                parts = min(4096, max(16, rows // ROWS_PER_PART))
                config = IvfSq(distance_type="cosine", num_partitions=parts)
                self._table.create_index("vector", config=config, name="vector_idx", replace=True)
        self._table.optimize(cleanup_older_than=KEEP_VERSIONS)

    def stats(self) -> StoreStats:
        """See :class:`~llave.search.store.VectorStore`."""
        rows = self._table.count_rows()
        stats = self._table.index_stats("vector_idx")
        return StoreStats(rows, stats is not None, rows if stats is None else stats.num_unindexed_rows)

    def version(self) -> Hashable:
        """See :class:`~llave.search.store.VectorStore`."""
        with named(str(self._uri), "gone"):
            self._table.checkout_latest()
            return int(self._table.version)

    def use(self, settings: Settings) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        self._settings = settings

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:  # a full disk, no permission
            reason = reason_of(error).split(", /")[0]  # without the place in its source
            raise UserError(
                f"{self._uri}: cannot write ({reason}); what was written before stays, and the same command goes on"
            ) from None

    def _scan(self, columns: Sequence[str], where: str | None = None) -> pa.Table:
        query = self._table.search().select(list(columns))
        return (query if where is None else query.where(where)).to_arrow()

    def _grow(self, rows: Sequence[Row]) -> Mapping[str, FieldType]:
        """All fields with their types, after adding those that are new."""
        known = self.fields()
        fresh = new_fields(known, [row.fields for row in rows])
        if fresh:
            self._table.add_columns({name: f"CAST(NULL AS {SQL_TYPES[kind]})" for name, kind in fresh.items()})
        return {**known, **fresh}

    def _where(self, conditions: Filter) -> str | None:
        """SQL. Names of fields are columns and values are quoted, so that nothing of a filter is read as SQL."""
        return " AND ".join(map(_condition, check_conditions(conditions, self.fields()))) or None


def drop_table(uri: str | Path, name: str) -> None:
    """Remove a table, if it is there."""
    with named(f"{uri}, table {name}", "cannot remove"):
        database = lancedb.connect(str(uri))
        if name in database.list_tables().tables:
            database.drop_table(name)


def _row(found: Mapping[str, Any], fields: Iterable[str]) -> Row:
    vector = found.get("vector")
    return Row(
        **{name: found[name] or "" for name in TEXTS},
        thumbnail=found.get("thumbnail") or b"",
        fields={name: found.get(name) for name in fields},  # a writer may have added one since the search
        vector_D=None if vector is None else np.asarray(vector, np.float32),
    )


def _required(row: Row) -> NDArray[np.float32]:
    if row.vector_D is None:
        raise ValueError(f"{row.id}: a row without a vector")
    return np.asarray(row.vector_D, np.float32)


def _condition(condition: Condition) -> str:
    column = f"`{condition.field}`"
    if isinstance(condition.value, tuple):
        return _one_of(condition.field, condition.value)
    if condition.op == "!=":
        return f"({column} != {_sql(condition.value)} OR {column} IS NULL)"
    return f"{column} {condition.op} {_sql(condition.value)}"


def _one_of(column: str, values: Sequence[str | float | bool]) -> str:
    return f"`{column}` IN ({', '.join(_sql(value) for value in values)})" if values else "false"


def _sql(value: str | float | bool) -> str:
    if isinstance(value, str):
        return "'" + legible(value).replace("'", "''") + "'"
    return str(value).lower() if isinstance(value, bool) else repr(value)
