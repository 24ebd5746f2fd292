"""Where the rows of an index are."""

import dataclasses

from llave.errors import UserError
from llave.search.addresses import is_postgres
from llave.search.info import LANCE, IndexInfo
from llave.search.store import VectorStore
from llave.search.trust import qdrant_key
from llave.storage.location import Location

__all__ = ["check_empty", "drop_store", "open_store"]


def open_store(path: Location, info: IndexInfo) -> VectorStore:
    """The table that an index's ``index.json`` names; it is made if it is not there.

    Args:
        path: folder of the index.

    Raises:
        UserError: its package is not installed, or no server answers.
    """
    if info.store == LANCE:
        from llave.search.lance import LanceStore
        from llave.search.lance_connect import said_in_a_line

        uri = path / LANCE
        return said_in_a_line(lambda: LanceStore(uri, info.dimension, info.table), uri)
    if is_postgres(info.store):
        from llave.search.postgres import PostgresStore

        return PostgresStore(info.store, info.table, info.dimension)
    from llave.search.qdrant import QdrantStore

    key = qdrant_key(info.store)
    return QdrantStore(info.store, info.table, info.dimension, path / info.fields_file, api_key=key)


def check_empty(path: Location, info: IndexInfo, rows: int) -> None:
    """Refuse a store that has rows before its index is made.

    Raises:
        UserError: it has, and nobody knows of which model.
    """
    if rows:
        where = path / LANCE if info.store == LANCE else f"{info.store}, collection {info.collection!r}"
        raise UserError(
            f"{where}: holds {rows:,} items of an index that is not in {path}, maybe of another model; choose another "
            "--index or --collection, or remove them"
        )


def drop_store(path: Location, info: IndexInfo, generation: int) -> None:
    """Remove the table of a generation of an index, if it is there.

    Raises:
        UserError: no server answers, or the disk does not let it go.
    """
    info = dataclasses.replace(info, generation=generation)
    if info.store == LANCE:
        from llave.search.lance import drop_table

        return drop_table(path / LANCE, info.table)
    if is_postgres(info.store):
        from llave.search.postgres import drop_table as drop_postgres

        return drop_postgres(info.store, info.table)
    from llave.search.qdrant_connect import drop_collection

    return drop_collection(info.store, info.table, path / info.fields_file, api_key=qdrant_key(info.store))
