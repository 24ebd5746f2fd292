"""An index in a PostgreSQL database with pgvector, for those who have one."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from llave.collection.types import FieldType, Scalar
from llave.errors import UserError
from llave.search.fields import check_filter, check_sort, in_order
from llave.search.filters import EVERYTHING, Filter
from llave.search.names import column_of
from llave.search.store import Known, Row, Settings, StoreStats
from llave.search.words import Words, words_of

try:
    from psycopg import Cursor, sql

    from llave.search import postgres_nearest as by_vector
    from llave.search.postgres_connect import Database
    from llave.search.postgres_fields import grow, retype, selected, set_values
    from llave.search.postgres_filter import where
    from llave.search.postgres_rows import SHOWN, TEXTS, as_field, record_of, row_of, storable, vector_from
    from llave.search.postgres_table import (
        MOST_DIMENSIONS,
        About,
        Table,
        build_index,
        change,
        drop_tables,
        opened,
        read_about,
    )
    from llave.search.postgres_words import ensure_language, speak, terms_of, words_sql, write_words
except ImportError:
    raise UserError("an index in PostgreSQL needs the package psycopg: pip install 'llave[postgres]'") from None

__all__ = ["PostgresStore", "drop_table"]

Result = TypeVar("Result")
ROWS_AT_ONCE = 500
IDS_AT_ONCE = 5000
COLUMNS = (*TEXTS, "fields", "thumbnail", "vector")


class PostgresStore:
    """Rows in a table of the schema ``llave``.

    Approximate search is HNSW over vectors of 16 bits a dimension and exact scores of the best candidates; it finds
    rows as soon as they are written. Vectors of more than 4,000 dimensions, which pgvector's index does not take, are
    all compared.

    Args:
        address: of the database, without a password; see :mod:`llave.search.addresses`.
        name: of the table; made if it is not there.
        dimension: of the vectors.

    Raises:
        UserError: no server there, no pgvector in it, or a table of another dimension.
    """

    def __init__(self, address: str, name: str, dimension: int) -> None:
        self._settings = Settings()
        self._database = Database(address)

        def work(cursor: Cursor[Any]) -> Table:
            table = opened(cursor, name, dimension)
            ensure_language(cursor, read_about(cursor, table).language)
            return table

        self._table = self._database.run(work)

    def _rows(self, statement: sql.Composed, values: Sequence[object]) -> list[tuple[Any, ...]]:
        return self._database.run(lambda cursor: cursor.execute(statement, values).fetchall())

    def _read(self, work: Callable[[Cursor[Any], About], Result]) -> Result:
        return self._database.run(lambda cursor: work(cursor, read_about(cursor, self._table)))

    def _write(self, work: Callable[[Cursor[Any], About], Result]) -> Result:
        """All of it or nothing, while no other writer writes."""
        return self._database.run(lambda cursor: work(cursor, change(cursor, self._table)))

    def upsert(self, rows: Sequence[Row], *, new: bool = False) -> None:
        """See :class:`~llave.search.store.VectorStore`. Whether they are new makes no difference here."""
        last = list({row.id: row for row in rows}.values())
        if not last:
            return

        def work(cursor: Cursor[Any], about: About) -> None:
            types = grow(cursor, self._table, about.types, [row.fields for row in last])
            for start in range(0, len(last), ROWS_AT_ONCE):
                some = last[start : start + ROWS_AT_ONCE]
                records = [record_of(row, types) for row in some]
                cursor.execute(self._upsert(len(some)), [value for record in records for value in record])
            write_words(cursor, self._table, about.language, [(row.id, row.words) for row in last])

        self._write(work)

    def _upsert(self, rows: int) -> sql.Composed:
        record = sql.SQL("({}, %s::real[])").format(sql.SQL(", ").join([sql.SQL("%s")] * (len(COLUMNS) - 1)))
        changes = (sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in COLUMNS[1:])
        return self._table.sql(
            "INSERT INTO {items} ({columns}) VALUES {records} ON CONFLICT (id) DO UPDATE SET {changes}",
            columns=sql.SQL(", ").join(map(sql.Identifier, COLUMNS)),
            records=sql.SQL(", ").join([record] * rows),
            changes=sql.SQL(", ").join(changes),
        )

    def retype(self, types: Mapping[str, FieldType | None]) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        if types:
            self._write(lambda cursor, about: retype(cursor, self._table, about.types, types))

    def set_field(self, name: str, values: Mapping[str, Scalar]) -> None:
        """See :class:`~llave.search.store.VectorStore`."""

        def work(cursor: Cursor[Any], about: About) -> None:
            types = grow(cursor, self._table, about.types, [{name: value} for value in values.values()])
            if name in types:
                set_values(cursor, self._table, column_of(name), values, types[name])

        self._write(work)

    def delete(self, ids: Sequence[str]) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        if ids:
            statement = self._table.sql("DELETE FROM {items} WHERE id = ANY(%s)")
            self._write(lambda cursor, _: cursor.execute(statement, [list(map(storable, ids))]))

    def relocate(self, old: str, new: str) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        statement = self._table.sql("UPDATE {items} SET source = %s WHERE source = %s")
        self._write(lambda cursor, _: cursor.execute(statement, [storable(new), storable(old)]))

    def known(self, source: str) -> Iterator[tuple[str, Known]]:
        """See :class:`~llave.search.store.VectorStore`."""
        text = "SELECT id, stamp, content, digest FROM {items} WHERE source = %s AND id > %s ORDER BY id LIMIT %s"
        statement, last = self._table.sql(text), ""
        while rows := self._rows(statement, [storable(source), last, IDS_AT_ONCE]):
            yield from ((row_id, Known(*rest)) for row_id, *rest in rows)
            last = rows[-1][0]

    def count(self, conditions: Filter = EVERYTHING) -> int:
        """See :class:`~llave.search.store.VectorStore`."""

        def work(cursor: Cursor[Any], about: About) -> int:
            clause, values = where(check_filter(conditions, about.types))
            statement = self._table.sql("SELECT count(*) FROM {items} WHERE {clause}", clause=clause)
            return int(cursor.execute(statement, values).fetchall()[0][0])

        return self._read(work)

    def nearest(
        self, query_D: NDArray[np.float32], *, limit: int, conditions: Filter = EVERYTHING, exact: bool = False
    ) -> list[tuple[Row, float]]:
        """See :class:`~llave.search.store.VectorStore`."""

        def work(cursor: Cursor[Any], about: About) -> list[tuple[Row, float]]:
            condition = where(check_filter(conditions, about.types))
            query, found = np.asarray(query_D, np.float32), []
            if about.approximate and not exact:
                found = by_vector.approximate(cursor, self._table, query, limit, condition, self._settings)
            if len(found) < limit:
                found = by_vector.exact(cursor, self._table, query, limit, condition)
            return [(row_of(each, about.types), 1.0 - each[-1]) for each in found]

        return self._read(work)

    def match(
        self,
        text: str,
        *,
        limit: int,
        conditions: Filter = EVERYTHING,
        ids: Sequence[str] | None = None,
        every: bool = False,
    ) -> list[tuple[Row, float]]:
        """See :class:`~llave.search.store.VectorStore`. Words are found with other endings, and not misspelt."""
        kept = self._table.sql("SELECT EXISTS (SELECT FROM {words}) OR NOT EXISTS (SELECT FROM {items})")

        def work(cursor: Cursor[Any], about: About) -> list[tuple[Row, float]]:
            if cursor.execute(kept).fetchall() != [(True,)]:
                raise UserError(f"the table {self._table.name!r} has no words yet; run the same `llave index` again")
            terms = terms_of(cursor, about.language, text)
            if not terms:
                return []
            condition = where(check_filter(conditions, about.types))
            wanted = None if ids is None else list(map(storable, ids))
            statement, values = words_sql(self._table, terms, condition, SHOWN, ids=wanted, every=every, limit=limit)
            return [(row_of(each, about.types), each[-1]) for each in cursor.execute(statement, values)]

        return self._read(work)

    def best(self, texts: Sequence[str], *, every: bool = False) -> list[float]:
        """See :class:`~llave.search.store.VectorStore`."""
        return [next((score for _, score in self.match(text, limit=1, every=every)), 0.0) for text in texts]

    def keep_words(self, words: Words) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        self._database.run(lambda cursor: speak(cursor, self._table, words.language))
        missing = self._table.sql(
            "SELECT {shown} FROM {items} WHERE NOT EXISTS (SELECT FROM {words} WHERE {words}.id = {items}.id) LIMIT %s",
            shown=SHOWN,
        )

        def work(cursor: Cursor[Any], about: About) -> int:
            found = cursor.execute(missing, [ROWS_AT_ONCE]).fetchall()
            rows = [row_of(each, about.types) for each in found]
            said = [(row.id, words_of(row.text, row.path or row.key, row.fields, words)) for row in rows]
            write_words(cursor, self._table, about.language, said)
            return len(rows)

        while not self.has_words() and self._write(work):
            pass

    def forget_words(self) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        statement = self._table.sql("TRUNCATE {words}")
        self._write(lambda cursor, _: cursor.execute(statement))

    def has_words(self) -> bool:
        """See :class:`~llave.search.store.VectorStore`."""
        statement = self._table.sql(
            "SELECT NOT EXISTS (SELECT FROM {items} WHERE NOT EXISTS"
            " (SELECT FROM {words} WHERE {words}.id = {items}.id))"
        )
        return self._database.run(lambda cursor: bool(cursor.execute(statement).fetchall()[0][0]))

    def ordered(
        self, *, conditions: Filter = EVERYTHING, sort: str | None = None, descending: bool = False
    ) -> list[str]:
        """See :class:`~llave.search.store.VectorStore`."""

        def work(cursor: Cursor[Any], about: About) -> list[str]:
            column, kind = check_sort(sort, about.types)
            value, names = selected(column, is_field=sort in about.types)
            clause, values = where(check_filter(conditions, about.types))
            statement = self._table.sql(
                "SELECT id, key, {value} FROM {items} WHERE {clause}", value=value, clause=clause
            )
            found = cursor.execute(statement, [*names, *values]).fetchall()
            ids, keys, there = ([row[place] for row in found] for place in range(3))
            return in_order({column: there, "id": ids, "key": keys}, column, kind, descending)

        return self._read(work)

    def get(self, ids: Sequence[str], *, vectors: bool = False, thumbnails: bool = False) -> dict[str, Row]:
        """See :class:`~llave.search.store.VectorStore`."""
        statement = self._table.sql(
            "SELECT {shown}, {thumbnail}, {vector_or_none} FROM {items} WHERE id = ANY(%s)",
            shown=SHOWN,
            thumbnail=sql.SQL("thumbnail" if thumbnails else "''::bytea"),
            vector_or_none=sql.SQL("vector" if vectors else "NULL"),
        )

        def work(cursor: Cursor[Any], about: About) -> dict[str, Row]:
            rows = (
                row_of(found, about.types, thumbnail=found[-2], vector=found[-1])
                for start in range(0, len(ids), IDS_AT_ONCE)
                for found in cursor.execute(statement, [list(map(storable, ids[start : start + IDS_AT_ONCE]))])
            )
            return {row.id: row for row in rows}

        return self._read(work)

    def vectors(self, *, limit: int | None, conditions: Filter = EVERYTHING) -> tuple[list[str], NDArray[np.float32]]:
        """See :class:`~llave.search.store.VectorStore`."""

        def work(cursor: Cursor[Any], about: About) -> tuple[list[str], NDArray[np.float32]]:
            clause, values = where(check_filter(conditions, about.types))
            statement = self._table.sql("SELECT id FROM {items} WHERE {clause} ORDER BY id", clause=clause)
            ids = [row_id for (row_id,) in cursor.execute(statement, values)]
            if limit is not None and len(ids) > limit:
                ids = [ids[place] for place in np.linspace(0, len(ids) - 1, limit).astype(int)]
            statement = self._table.sql("SELECT id, vector FROM {items} WHERE id = ANY(%s)")
            found: dict[str, NDArray[np.float32]] = {}
            for start in range(0, len(ids), IDS_AT_ONCE):
                rows = cursor.execute(statement, [ids[start : start + IDS_AT_ONCE]])
                found |= {row_id: vector_from(vector) for row_id, vector in rows}
            ids = [row_id for row_id in ids if row_id in found]  # one may have been removed meanwhile
            vectors = [found[row_id] for row_id in ids]
            return ids, np.stack(vectors) if vectors else np.zeros((0, self._table.dimension), np.float32)

        return self._read(work)

    def fields(self) -> dict[str, FieldType]:
        """See :class:`~llave.search.store.VectorStore`."""
        return self._read(lambda _, about: dict(about.types))

    def column(self, names: Sequence[str], fields: Sequence[str] = ()) -> Mapping[str, list[Any]]:
        """See :class:`~llave.search.store.VectorStore`."""
        wanted = {name: selected(name, is_field=False) for name in names if name in TEXTS}
        named = [name for name in (*names, *fields) if name not in wanted or name in fields]
        wanted |= {name: selected(column_of(name), is_field=True) for name in named}

        def work(cursor: Cursor[Any], about: About) -> Mapping[str, list[Any]]:
            columns = sql.SQL(", ").join(column for column, _ in wanted.values())
            statement = self._table.sql("SELECT {columns} FROM {items} ORDER BY id", columns=columns)
            rows = cursor.execute(statement, [value for _, values in wanted.values() for value in values]).fetchall()
            found = {name: [row[place] for row in rows] for place, name in enumerate(wanted)}
            numbers = [name for name in named if about.types.get(name) == "number"]
            return {**found, **{name: [as_field(value, "number") for value in found[name]] for name in numbers}}

        return self._read(work)

    def optimize(self, *, exact_below: int, settings: Settings) -> None:
        """See :class:`~llave.search.store.VectorStore`. The database compacts by itself (autovacuum)."""
        if settings.precision != "int8" or settings.prefix is not None:
            raise UserError(
                "an index in PostgreSQL compares 16 bits a dimension; other first stages are LanceDB's alone"
            )
        self.use(settings)
        rows = self.count()

        def work(cursor: Cursor[Any]) -> None:
            if rows >= max(1, exact_below) and self._table.dimension <= MOST_DIMENSIONS:
                build_index(cursor, self._table, rows)
            cursor.execute(self._table.sql("ANALYZE {items}, {words}"))

        self._database.run(work)

    def stats(self) -> StoreStats:
        """See :class:`~llave.search.store.VectorStore`."""
        rows = self.count()
        approximate = self._read(lambda _, about: about.approximate)
        return StoreStats(rows, approximate, 0 if approximate else rows)

    def version(self) -> Hashable:
        """See :class:`~llave.search.store.VectorStore`."""
        return self._read(lambda _, about: about.version)

    def use(self, settings: Settings) -> None:
        """See :class:`~llave.search.store.VectorStore`."""
        self._settings = settings

    def close(self) -> None:
        """Close the connections that wait."""
        self._database.close()


def drop_table(address: str, name: str) -> None:
    """Remove the table of an index, if it is there."""
    database = Database(address)
    database.run(lambda cursor: drop_tables(cursor, name))
    database.close()
