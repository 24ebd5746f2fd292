"""The client of a Qdrant server, or of a folder in its local mode."""

from contextlib import closing
from pathlib import Path

from qdrant_client import QdrantClient

from llave.data.door import named
from llave.storage.location import Location

__all__ = ["connect", "drop_collection"]


def connect(url: str | Path, api_key: str | None = None) -> QdrantClient:
    """Not a word is said to a server yet."""
    return QdrantClient(url=str(url), api_key=api_key) if "://" in str(url) else QdrantClient(path=str(url))


def drop_collection(url: str | Path, collection: str, types: Location, *, api_key: str | None = None) -> None:
    """Remove a collection, if it is there, and what is kept of it here (``types``: the file of its fields)."""
    with closing(connect(url, api_key)) as client, named(f"the Qdrant collection {collection!r}", "cannot remove"):
        client.delete_collection(collection)
    for file in (types, types.with_suffix(".changes")):
        file.unlink(missing_ok=True)
