"""Where the rows of an index are."""

from pathlib import Path

from llave.search.info import LANCE, IndexInfo
from llave.search.store import VectorStore
from llave.search.trust import qdrant_key

__all__ = ["open_store"]


def open_store(path: Path, info: IndexInfo) -> VectorStore:
    """The table that an index's ``index.json`` names; it is made if it is not there.

    Args:
        path: folder of the index.

    Raises:
        UserError: its package is not installed, or no server answers.
    """
    if info.store == LANCE:
        from llave.search.lance import LanceStore

        return LanceStore(path / LANCE, info.dimension, info.table)
    from llave.search.qdrant import QdrantStore

    fields = path / (f"fields-{info.generation}.json" if info.generation else "fields.json")
    return QdrantStore(info.store, info.table, info.dimension, fields, api_key=qdrant_key(info.store))
