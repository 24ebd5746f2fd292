"""Tables of indexes in a PostgreSQL database: in the schema ``llave`` one of rows and one of their words for each, and
``about``, which says of each what its columns do not.

A writer first changes its table's line in ``about``, and has that line until its transaction ends. So writers of one
table take turns, none meets another in the middle (there is no deadlock), and the version tells each change.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import Cursor, sql
from psycopg.types.json import Jsonb

from llave.collection.types import FieldType
from llave.errors import UserError

__all__ = [
    "MOST_DIMENSIONS",
    "SCHEMA",
    "About",
    "Table",
    "build_index",
    "change",
    "drop_tables",
    "lock",
    "opened",
    "read_about",
    "write_language",
    "write_types",
]

SCHEMA = "llave"
LONGEST = 48
"""Bytes of a name; PostgreSQL would cut what is longer than 63, with what is put behind it."""
OLDEST = (0, 8)
"""The version of pgvector from which on a search with a filter goes on until it has enough hits."""
MOST_DIMENSIONS = 4000
"""Of what pgvector's index holds in 16 bits a dimension."""
LANGUAGE = "English"
"""Whose endings are cut off before anything else was said."""
LOCK = 0x11AFE
ELEMENT = 640
"""Bytes of an element of the graph beside its vector, about."""
MEMORY = 64, 1024
"""MiB that the server may take for building the graph; past them it goes on much slower, on its disk."""


@dataclass(frozen=True, slots=True)
class Table:
    """Names for statements.

    Args:
        name: in ``about``.
        dimension: of the vectors.
        extension: schema that pgvector's types and operators are in.
    """

    name: str
    dimension: int
    extension: str

    def sql(self, text: LiteralString, **parts: sql.Composable) -> sql.Composed:
        """A statement with the table's names in place of ``{items}``, ``{words}``, ``{hnsw}`` (an index), ``{cosine}``
        (an operator), ``{vector}`` and ``{halfvec}`` (types of the dimension)."""
        extension, dimension = sql.Identifier(self.extension), sql.Literal(self.dimension)
        return sql.SQL(text).format(
            items=sql.Identifier(SCHEMA, self.name),
            words=sql.Identifier(SCHEMA, f"{self.name} words"),
            hnsw=sql.Identifier(self.hnsw),
            cosine=sql.SQL("OPERATOR({}.<=>)").format(extension),
            vector=sql.SQL("{}.vector({})").format(extension, dimension),
            halfvec=sql.SQL("{}.halfvec({})").format(extension, dimension),
            **parts,
        )

    @property
    def hnsw(self) -> str:
        """Name of the approximate index."""
        return f"{self.name} hnsw"


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a table: types of its fields, language of its words, whether it has an approximate index."""

    types: Mapping[str, FieldType]
    language: str
    version: int
    approximate: bool


def opened(cursor: Cursor[Any], name: str, dimension: int) -> Table:
    """The tables of an index, made if they are not there.

    Raises:
        UserError: the name is too long, the vectors of those that are there have another dimension, or the database
            has no pgvector or holds other letters than Unicode's.
    """
    if len(name.encode()) > LONGEST:
        raise UserError(f"--collection {name!r:.80}: at most {LONGEST} bytes in PostgreSQL")
    if not _is_there(cursor, name):
        lock(cursor)
        if not _is_there(cursor, name):
            _create(cursor, name, dimension)
    (known,) = _one(cursor, sql.SQL("SELECT dimension FROM {} WHERE name = %s").format(_about()), name)
    if known != dimension:
        raise UserError(
            f"the table {name!r} has vectors of {known} dimensions, not {dimension}; name another --collection"
        )
    return Table(name, dimension, _extension(cursor))


def lock(cursor: Cursor[Any]) -> None:
    """Whoever else makes tables or the like just now is waited for."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def _is_there(cursor: Cursor[Any], name: str) -> bool:
    (there,) = _one(cursor, "SELECT to_regclass('llave.about') IS NOT NULL")
    statement = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE name = %s)").format(_about())
    return bool(there) and bool(_one(cursor, statement, name)[0])


def _create(cursor: Cursor[Any], name: str, dimension: int) -> None:
    (encoding,) = _one(cursor, "SHOW server_encoding")
    if encoding != "UTF8":
        raise UserError(f"the database's encoding is {encoding}; an index needs one of UTF8")
    table = Table(name, dimension, _extension(cursor))
    (there,) = _one(cursor, "SELECT to_regnamespace(%s) IS NOT NULL", SCHEMA)
    if not there:
        cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCHEMA)))
    cursor.execute(
        sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} (name text PRIMARY KEY, dimension integer NOT NULL, types jsonb NOT NULL,"
            " language text NOT NULL, version bigint NOT NULL)"
        ).format(_about())
    )
    cursor.execute(
        table.sql(
            'CREATE TABLE {items} (id text COLLATE "C" PRIMARY KEY, source text NOT NULL,'
            ' key text COLLATE "C" NOT NULL,'
            " kind text NOT NULL, text text NOT NULL, path text NOT NULL, file text NOT NULL, stamp text NOT NULL,"
            " content text NOT NULL, digest text NOT NULL, fields jsonb NOT NULL, thumbnail bytea NOT NULL,"
            " vector {vector} NOT NULL)"
        )
    )
    cursor.execute(table.sql("CREATE INDEX ON {items} USING gin (fields jsonb_path_ops)"))
    cursor.execute(
        table.sql(
            'CREATE TABLE {words} (id text COLLATE "C" PRIMARY KEY REFERENCES {items} ON DELETE CASCADE,'
            " length integer NOT NULL, lexemes tsvector NOT NULL)"
        )
    )
    cursor.execute(table.sql("CREATE INDEX ON {words} USING gin (lexemes)"))
    statement = sql.SQL("INSERT INTO {} VALUES (%s, %s, '{{}}', %s, pg_current_xact_id()::text::bigint)").format(
        _about()
    )
    cursor.execute(statement, [name, dimension, LANGUAGE])


def _extension(cursor: Cursor[Any]) -> str:
    """Its schema; made where it is not there and may be."""
    query = (
        "SELECT nspname, extversion FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace"
        " WHERE extname = 'vector'"
    )
    found = cursor.execute(query).fetchone()
    if found is None:
        if not _one(cursor, "SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'")[0]:
            raise UserError("the PostgreSQL server has no pgvector; install it there (github.com/pgvector/pgvector)")
        try:
            cursor.execute("CREATE EXTENSION vector")
        except psycopg.errors.InsufficientPrivilege:
            raise UserError(
                "the database has no pgvector, and you may not add it: its administrator can (CREATE EXTENSION vector)"
            ) from None
        found = _one(cursor, query)
    schema, version = found
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise UserError(f"pgvector {version} is too old; 0.8 or later: ALTER EXTENSION vector UPDATE")
    return str(schema)


def read_about(cursor: Cursor[Any], table: Table) -> About:
    """What is known of a table now.

    Raises:
        UserError: it is gone.
    """
    return _known(
        cursor,
        table,
        "SELECT types, language, version, to_regclass(format('%%I.%%I', 'llave', %s::text)) IS NOT NULL FROM {about}"
        " WHERE name = %s",
    )


def change(cursor: Cursor[Any], table: Table) -> About:
    """What is known of a table that this transaction is to change; other writers wait until it ends.

    Raises:
        UserError: it is gone.
    """
    return _known(
        cursor,
        table,
        "WITH named (hnsw) AS (VALUES (%s::text)) UPDATE {about} SET version = pg_current_xact_id()::text::bigint"
        " FROM named WHERE name = %s"
        " RETURNING types, language, version, to_regclass(format('%%I.%%I', 'llave', hnsw)) IS NOT NULL",
    )


def _known(cursor: Cursor[Any], table: Table, text: LiteralString) -> About:
    found = cursor.execute(sql.SQL(text).format(about=_about()), [table.hnsw, table.name]).fetchone()
    if found is None:
        raise UserError(f"the table {table.name!r} is gone")
    return About(*found)


def write_types(cursor: Cursor[Any], table: Table, types: Mapping[str, FieldType]) -> None:
    """The types of the fields, from now on."""
    statement = sql.SQL("UPDATE {} SET types = %s WHERE name = %s").format(_about())
    cursor.execute(statement, [Jsonb(dict(types)), table.name])


def write_language(cursor: Cursor[Any], table: Table, language: str) -> None:
    """The language of the words, from now on."""
    statement = sql.SQL("UPDATE {} SET language = %s WHERE name = %s").format(_about())
    cursor.execute(statement, [language, table.name])


def build_index(cursor: Cursor[Any], table: Table, rows: int) -> None:
    """The approximate index (HNSW over the vectors in 16 bits a dimension), if it is not there; rows that come later
    are added to it by the database."""
    least, most = MEMORY
    kilobytes = min(most << 10, max(least << 10, rows * (2 * table.dimension + ELEMENT) >> 10))
    cursor.execute(
        "SELECT set_config('maintenance_work_mem', greatest(%s,"
        " pg_size_bytes(current_setting('maintenance_work_mem')) / 1024)::text || 'kB', true)",
        [kilobytes],
    )
    ops = sql.Identifier(table.extension, "halfvec_cosine_ops")
    statement = table.sql(
        "CREATE INDEX IF NOT EXISTS {hnsw} ON {items} USING hnsw ((vector::{halfvec}) {ops})", ops=ops
    )
    try:
        with cursor.connection.transaction():
            cursor.execute(statement)
    except psycopg.errors.DiskFull:  # a container's shared memory is small, and only several workers need it
        cursor.execute("SELECT set_config('max_parallel_maintenance_workers', '0', true)")
        cursor.execute(statement)


def drop_tables(cursor: Cursor[Any], name: str) -> None:
    """Remove the tables of an index, if they are there."""
    if not _is_there(cursor, name):
        return
    for each in (f"{name} words", name):
        cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(SCHEMA, each)))
    cursor.execute(sql.SQL("DELETE FROM {} WHERE name = %s").format(_about()), [name])


def _about() -> sql.Identifier:
    return sql.Identifier(SCHEMA, "about")


def _one(cursor: Cursor[Any], statement: LiteralString | sql.Composed, *values: Any) -> Any:
    row = cursor.execute(statement, values).fetchone()
    assert row is not None
    return row
