"""An index in a LanceDB database: a folder on this machine, or an address that LanceDB opens (``s3://…``)."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from llave.collection.types import FieldType, Scalar, cast
from llave.data.door import named, reason_of
from llave.errors import UserError
from llave.search.fields import changed_types, check_filter, check_sort, in_order
from llave.search.filters import EVERYTHING, Filter
from llave.search.lance_filter import as_sql, literal, one_of
from llave.search.lance_types import SQL_TYPES, TYPES, convert, recover, write_column
from llave.search.names import column_of, field_of
from llave.search.store import Known, Row, Settings, StoreStats
from llave.search.words import Words
from llave.storage.held import check_held
from llave.storage.location import Location

try:
    from lancedb.index import BTree

    from llave.search.lance_connect import connect, door
    from llave.search.lance_prefix import (
        build_first,
        by_prefix,
        drop_others,
        fill_prefix,
        first_stage,
        is_prefix,
        matrix_of,
        prefix_columns,
    )
    from llave.search.lance_rows import FEW, OWN, TEXTS, is_field, rows_of, values_of, vector_of
    from llave.search.lance_words import WORD_COLUMNS, WORDS, Heard, every_word, fill, index_words
except ImportError:
    raise UserError("an index needs the package lancedb: pip install 'llave[search]'") from None

__all__ = ["LanceStore", "drop_table"]

TABLE = "items"
HEAVY = ("thumbnail", "vector", *WORD_COLUMNS)
"""Not read where a row is only shown."""
KEEP_VERSIONS = timedelta(minutes=10)
"""Old versions stay this long, for the searches of other processes that have them open."""
FRESH = timedelta(seconds=2)
"""A reader sees what a writer committed after this time at most."""
IDS_AT_ONCE = 1000
ROWS_AT_ONCE = 10_000


class LanceStore:
    """Rows in a LanceDB table.

    Approximate search is IVF with 8-bit scalar quantisation (IVF_SQ) and exact scores of the best candidates. Of
    LanceDB's index types it is the one that loses nothing on close vectors (docs/search.md). A user whose own items
    lose nothing by it may have a bit a dimension (IVF_RQ), or the first dimensions only, or both.

    Args:
        uri: of the database.
        dimension: of the vectors; creates the table if there is none.
        name: of the table.
    """

    def __init__(self, uri: str | Location, dimension: int, name: str = TABLE) -> None:
        self._uri = uri
        self._dimension = dimension
        self._settings = Settings()
        database = connect(uri, fresh=FRESH)
        schema = pa.schema(
            [pa.field(name, pa.string()) for name in TEXTS]
            + [pa.field("thumbnail", pa.binary()), pa.field("vector", pa.list_(pa.float32(), dimension))]
            + [pa.field(name, pa.string()) for name in WORD_COLUMNS]
        )
        there = name in database.list_tables().tables
        self._table: Any = database.open_table(name) if there else database.create_table(name, schema=schema)
        self._heard = Heard(self._table, self._table.version)

    def upsert(self, rows: Sequence[Row], *, new: bool = False) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        if not rows:
            return
        columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in (*TEXTS, "thumbnail")}
        for name, kind in self._grow([row.fields for row in rows]).items():
            columns[column_of(name)] = [cast(row.fields.get(name), kind) for row in rows]
        vector_BD = np.stack([vector_of(row) for row in rows])
        if WORDS in self._table.schema.names:
            columns |= {name: [row.words for row in rows] for name in WORD_COLUMNS}
        arrays = {name: pa.array(values, self._table.schema.field(name).type) for name, values in columns.items()}
        arrays["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vector_BD.reshape(-1)), self._dimension)
        arrays |= prefix_columns(self._table.schema.names, vector_BD)
        table = pa.table([arrays[name] for name in self._table.schema.names], schema=self._table.schema)
        with self._writing():
            if new:
                self._table.add(table)
                return
            self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(table)

    def delete(self, ids: Sequence[str]) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        for start in range(0, len(ids), IDS_AT_ONCE):
            with self._writing():
                self._table.delete(one_of("id", ids[start : start + IDS_AT_ONCE]))

    def relocate(self, old: str, new: str) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        with self._writing():
            self._table.update(where=f"source = {literal(old)}", values={"source": new})

    def set_field(self, name: str, values: Mapping[str, Scalar]) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        types = self._grow([{name: value} for value in values.values()])
        if name in types:
            with self._writing():
                write_column(self._table, column_of(name), types[name], values)

    def known(self, source: str) -> Iterator[tuple[str, Known]]:
        """See :class:`~llave.search.store.VectorStore`."""
        names = ["id", "stamp", "content", "digest"]
        for batch in self._table.search().select(names).where(f"source = {literal(source)}").to_batches(ROWS_AT_ONCE):
            columns = [batch[name].to_pylist() for name in names]
            yield from ((row_id, Known(*rest)) for row_id, *rest in zip(*columns, strict=True))

    def count(self, conditions: Filter = EVERYTHING) -> int:
        """See :class:`~llave.search.store.VectorStore`."""
        return int(self._table.count_rows(self._where(conditions)))

    def nearest(
        self, query_D: NDArray[np.float32], *, limit: int, conditions: Filter = EVERYTHING, exact: bool = False
    ) -> list[tuple[Row, float]]:
        """See :class:`~llave.search.store.VectorStore`."""
        first = first_stage(self._settings, self._dimension)
        where = self._where(conditions)
        scores = None
        if first.own and not exact:
            scores = by_prefix(self._table, query_D, first, self._settings, limit=limit, where=where)
        if scores is not None:
            rows = self.get(list(scores))  # one may have been removed meanwhile
            return [(rows[row_id], score) for row_id, score in scores.items() if row_id in rows]
        search = self._table.search(query_D, vector_column_name="vector").distance_type("cosine")
        search = search.limit(limit).select([*_light(self._table.schema.names), "_distance"])
        if exact:
            search = search.bypass_vector_index()
        else:
            search = search.nprobes(self._settings.probes).refine_factor(self._settings.refine)
        if where:
            search = search.where(where, prefilter=True)
        found = search.to_arrow()
        return [(row, 1.0 - far) for row, far in zip(rows_of(found), found["_distance"].to_pylist(), strict=True)]

    def match(
        self,
        text: str,
        *,
        limit: int,
        conditions: Filter = EVERYTHING,
        ids: Sequence[str] | None = None,
        every: bool = False,
    ) -> list[tuple[Row, float]]:
        """See :class:`~llave.search.store.VectorStore`."""
        light = self._worded()
        query = every_word(text) if every else self._hears().query(text)
        search = self._table.search(query, query_type="fts").limit(limit).select([*light, "_score"])
        wheres = [self._where(conditions), None if ids is None else one_of("id", ids)]
        if where := " AND ".join(f"({each})" for each in wheres if each):
            search = search.where(where, prefilter=True)
        found = search.to_arrow()
        pairs = zip(rows_of(found), found["_score"].to_pylist(), strict=True)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0].key))  # equal ones come in any order

    def best(self, texts: Sequence[str], *, every: bool = False) -> list[float]:
        """See :class:`~llave.search.store.VectorStore`."""
        self._worded()
        heard = self._hears()
        return [heard.whole(text) if every else heard.like(text) for text in texts]

    def _hears(self) -> Heard:
        version = self._table.version
        if self._heard.version != version or self._heard.full():
            self._heard = Heard(self._table, version)
        return self._heard

    def _worded(self) -> list[str]:
        """The light columns of a table that has words."""
        names: list[str] = self._table.schema.names
        if WORDS not in names:
            raise UserError(f"{self._uri}: has no words yet; run the same `llave index` again")
        return _light(names)

    def keep_words(self, words: Words) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        with self._writing():
            if WORDS not in self._table.schema.names:
                self._table.add_columns(dict.fromkeys(WORD_COLUMNS, SQL_TYPES["string"]))
            ids = self._scan(["id"], f"`{WORDS}` IS NULL")["id"].to_pylist()
            fill(self._table, ids, lambda some: self.get(some).values(), words)
            index_words(self._table, words.language)

    def forget_words(self) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        with self._writing():
            if WORDS in self._table.schema.names:
                self._table.drop_columns(list(WORD_COLUMNS))  # and their indices

    def has_words(self) -> bool:
        """See :class:`~llave.search.store.VectorStore`."""
        return WORDS in self._table.schema.names and not self._table.count_rows(f"`{WORDS}` IS NULL")

    def ordered(
        self, *, conditions: Filter = EVERYTHING, sort: str | None = None, descending: bool = False
    ) -> list[str]:
        """See :class:`~llave.search.store.VectorStore`."""
        column, kind = check_sort(sort, self.fields())
        found = self._scan(list({"id", "key", column}), self._where(conditions))
        return in_order(found.to_pydict(), column, kind, descending)

    def get(self, ids: Sequence[str], *, vectors: bool = False, thumbnails: bool = False) -> dict[str, Row]:
        """See :class:`~llave.search.store.VectorStore`."""
        wanted = {name for name, asked in (("vector", vectors), ("thumbnail", thumbnails)) if asked}
        columns = [*_light(self._table.schema.names), *wanted]
        rows: dict[str, Row] = {}
        for start in range(0, len(ids), IDS_AT_ONCE):
            found = self._scan(columns, one_of("id", ids[start : start + IDS_AT_ONCE]))
            rows |= {row.id: row for row in rows_of(found)}
        return rows

    def vectors(self, *, limit: int | None, conditions: Filter = EVERYTHING) -> tuple[list[str], NDArray[np.float32]]:
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
        return taken["id"].to_pylist(), matrix_of(taken["vector"])

    def fields(self) -> dict[str, FieldType]:
        """See :class:`~llave.search.store.VectorStore`."""
        names = {kind: name for name, kind in TYPES.items()}
        columns = [column for column in self._table.schema if is_field(column.name)]
        return {field_of(column.name): names[column.type] for column in columns}

    def column(self, names: Sequence[str], fields: Sequence[str] = ()) -> Mapping[str, list[Any]]:
        """See :class:`~llave.search.store.VectorStore`."""
        columns = {name: name if name in OWN else column_of(name) for name in names}
        columns |= {name: column_of(name) for name in fields}
        found = self._scan(list(columns.values()))
        return {name: values_of(found[column], few=column in FEW) for name, column in columns.items()}

    def optimize(self, *, exact_below: int, settings: Settings) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        self.use(settings)
        with self._writing():
            self._optimize(exact_below)

    def _optimize(self, exact_below: int) -> None:
        rows, indices = self._table.count_rows(), {index.name for index in self._table.list_indices()}
        first = first_stage(self._settings, self._dimension)
        if rows >= max(1, exact_below):
            if "id_idx" not in indices:
                self._table.create_index("id", config=BTree(), name="id_idx")
            if first.own:
                fill_prefix(self._table, first, lambda ids: self.get(ids, vectors=True).values())
            build_first(self._table, first, rows)
        drop_others(self._table, first)
        self._table.optimize(cleanup_older_than=KEEP_VERSIONS)

    def stats(self) -> StoreStats:
        """See :class:`~llave.search.store.VectorStore`."""
        rows = self._table.count_rows()
        stats = self._table.index_stats(first_stage(self._settings, self._dimension).index)
        return StoreStats(rows, stats is not None, rows if stats is None else stats.num_unindexed_rows)

    def version(self) -> Hashable:
        """See :class:`~llave.search.store.VectorStore`."""
        with named(str(self._uri), "gone"), door(self._uri):
            self._table.checkout_latest()
            return int(self._table.version)

    def use(self, settings: Settings) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        self._settings = settings

    @contextmanager
    def _writing(self) -> Iterator[None]:
        check_held(str(self._uri))
        try:
            with door(self._uri):
                yield
        except (OSError, RuntimeError) as error:  # a full disk, no permission
            reason = reason_of(error).split(", /")[0]  # without the place in its source
            raise UserError(
                f"{self._uri}: cannot write ({reason}); what was written before stays, and the same command goes on"
            ) from None

    def _scan(self, columns: Sequence[str], where: str | None = None) -> pa.Table:
        query = self._table.search().select(list(columns))
        return (query if where is None else query.where(where)).to_arrow()

    def retype(self, types: Mapping[str, FieldType | None]) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        with self._writing():
            recover(self._table)
            known = self.fields()
            gone = [column_of(name) for name, kind in types.items() if kind is None and name in known]
            if gone:
                self._table.drop_columns(gone)
            wanted = {name: kind for name, kind in types.items() if kind is not None}
            fresh = {column_of(name): SQL_TYPES[kind] for name, kind in wanted.items() if name not in known}
            if fresh:
                self._table.add_columns(fresh)
            for name, kind in wanted.items():
                if known.get(name, kind) != kind:
                    column = column_of(name)
                    found = self._scan(["id", column], f"`{column}` IS NOT NULL")
                    convert(self._table, column, kind, found["id"], found[column].to_pylist())

    def _grow(self, fields: Sequence[Mapping[str, Scalar]]) -> Mapping[str, FieldType]:
        """All fields with their types, after changing those that do not hold what rows have."""
        self.retype(changed_types(self.fields(), fields))
        return self.fields()

    def _where(self, conditions: Filter) -> str | None:
        """SQL. Names of fields are columns and values are quoted, so that nothing of a filter is read as SQL."""
        return None if conditions == EVERYTHING else as_sql(check_filter(conditions, self.fields()))


def _light(names: Sequence[str]) -> list[str]:
    return [name for name in names if name not in HEAVY and not is_prefix(name)]


def drop_table(uri: str | Location, name: str) -> None:
    """Remove a table, if it is there."""
    check_held(str(uri))
    with named(f"{uri}, table {name}", "cannot remove"), door(uri):
        database = connect(uri)
        if name in database.list_tables().tables:
            database.drop_table(name)
