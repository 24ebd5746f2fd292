"""What the tests of an index share: it is brought up to date, and looked at whole."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from llave.collection.open import open_collection
from llave.search.index import Index
from llave.search.lance import LanceStore
from llave.search.lance_connect import said_in_a_line
from llave.search.options import BuildOptions, BuildReport
from llave.search.postgres import PostgresStore
from llave.search.qdrant import QdrantStore
from llave.search.store import Row, VectorStore, row_id
from llave.search.update import update_index
from llave.storage.location import ObjectPath
from tests.search.postgres_server import empty_database
from tests.search.qdrant_server import qdrant_server
from tests.storage.server import new_bucket

D = 16
"""Of the vectors of :func:`row`."""
STORES = ["lance", "qdrant", "postgres", pytest.param("qdrant server", marks=pytest.mark.slow)]
"""Kinds of :func:`opened_store`. To make an index of each field, Qdrant's engine takes a third of a second."""


def build(index: Index, model: SentenceTransformer, source: Path, **options: Any) -> BuildReport:
    return update_index(index, model, open_collection(source), source, BuildOptions(progress=False, **options))


@contextmanager
def opened_store(kind: str, folder: Path, dimension: int) -> Iterator[VectorStore]:
    """An empty one of a kind."""
    if kind == "lance":
        yield LanceStore(folder / "db", dimension)
        return
    if kind == "s3":
        with new_bucket() as address:
            uri = ObjectPath.parse(address) / "db"
            yield said_in_a_line(lambda: LanceStore(uri, dimension), uri)
        return
    if kind == "qdrant server":
        with qdrant_server(folder) as (address, _):
            yield QdrantStore(address, "items", dimension, folder / "fields.json")
        return
    if kind == "postgres":
        with closing(PostgresStore(empty_database(), "items", dimension)) as store:
            yield store
        return
    with closing(QdrantStore(folder / "qdrant", "items", dimension, folder / "fields.json")) as opened:
        yield opened


def row(key: str, vector_D: np.ndarray | None = None, **fields: str | int | float | None) -> Row:
    """Of a text that is its key, with the first unit vector where none is given."""
    own = dict.fromkeys(("path", "file", "stamp", "content", "digest"), "")
    vector_D = np.eye(1, D, dtype=np.float32)[0] if vector_D is None else vector_D
    return Row(
        id=row_id("s", key), source="s", key=key, kind="text", text=key, words=key, **own, fields=fields,
        vector_D=vector_D,
    )  # fmt: skip


def counts(report: BuildReport) -> tuple[int, ...]:
    return report.added, report.changed, report.refreshed, report.unchanged, report.removed


def rows(index: Index) -> dict[str, Row]:
    """Everything, by id."""
    return index.store.get(index.store.column(["id"])["id"], vectors=True, thumbnails=True)


def about(row: Row) -> tuple[Any, ...]:
    """All of a row but its id, source and vector, which may be compared by other rules."""
    fields = {name: value for name, value in row.fields.items() if value is not None}
    return row.key, row.kind, row.text, row.path, row.file, row.content, row.digest, row.thumbnail, fields


def check_equal(found: dict[str, Row], wanted: dict[str, Row]) -> None:
    """The same rows by the same ids, vectors within rounding."""
    assert found.keys() == wanted.keys()
    for identity, row in found.items():
        assert about(row) == about(wanted[identity])
        assert row.vector_D is not None
        assert wanted[identity].vector_D is not None
        np.testing.assert_allclose(row.vector_D, wanted[identity].vector_D, atol=1e-5)
