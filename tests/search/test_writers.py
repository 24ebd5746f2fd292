"""Writers that are killed, and writers at once, in every store that several processes can open."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from llave.search.filters import parse_filter
from llave.search.postgres import PostgresStore
from llave.search.qdrant import QdrantStore
from llave.search.store import VectorStore
from llave.search.words import Words
from tests.search.postgres_server import empty_database
from tests.search.qdrant_server import qdrant_server
from tests.search.writer import AT_ONCE, opener, rows

SERVER = pytest.param("qdrant server", marks=pytest.mark.slow)
WRITER = """
import sys
from tests.search.writer import AT_ONCE, opener, rows

store = opener(*sys.argv[1:])()
for start in range(0, 100_000, AT_ONCE):
    print(start, flush=True)
    store.upsert(rows(start, start + AT_ONCE), new=start % 3 == 0)
"""


@contextmanager
def opened(opener: Callable[[], VectorStore]) -> Iterator[VectorStore]:
    """Closed in the end, if it is one that can be."""
    store = opener()
    yield store
    if isinstance(store, PostgresStore | QdrantStore):
        store.close()


@pytest.fixture
def place(kind: str, tmp_path: Path) -> Iterator[str]:
    """Where an empty store of the kind is."""
    if kind == "qdrant server":
        with qdrant_server(tmp_path) as (address, _):
            yield f"{address} {tmp_path}"
        return
    yield empty_database() if kind == "postgres" else str(tmp_path)


def check_rows(store: VectorStore, count: int) -> None:
    """Each row is there once, whole, and found by all its parts."""
    wanted = {row.id: row for row in rows(0, count)}
    column = store.column(["id"])["id"]
    assert sorted(column) == sorted(wanted)
    found = store.get(column, vectors=True)
    for identity, row in wanted.items():
        fields = {name: value for name, value in found[identity].fields.items() if value is not None}
        assert (found[identity].key, found[identity].text, fields) == (row.key, row.text, row.fields)
        np.testing.assert_allclose(found[identity].vector_D, row.vector_D, atol=1e-6)
    assert store.count(parse_filter("odd = true")) == count // 2
    store.keep_words(Words())
    assert len(store.match("odd", limit=count)) == count // 2


@pytest.mark.parametrize("kind", ["lance", "postgres", "qdrant", SERVER])
def test_a_killed_writer_goes_on(kind: str, place: str) -> None:
    """Wherever it was: what it wrote is whole, and the same again makes it complete."""
    where = place
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, kind, where], stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 5 * AT_ONCE:
            break
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    with opened(opener(kind, where)) as store:
        left = store.count()
        assert left >= 5 * AT_ONCE
        if kind != "qdrant":  # its local mode writes point by point
            assert left % AT_ONCE == 0
        for start in range(0, left + AT_ONCE, AT_ONCE):
            store.upsert(rows(start, start + AT_ONCE))
        check_rows(store, left + AT_ONCE)


@pytest.mark.parametrize("kind", ["lance", "postgres", SERVER])
def test_two_writers_at_once(kind: str, place: str) -> None:
    """The same rows from both ends, so that they meet in the middle, and a third one that reads all the while. LanceDB
    keeps no id unique: it is the lock of an index that lets one writer in, and here each writes rows of its own."""
    where = place
    if kind == "lance":  # a writer that meets another one's new field gives up, and the same command goes on
        opener(kind, where)().upsert(rows(0, AT_ONCE))
    stores = [opener(kind, where)() for _ in range(3)]
    starts = list(range(0, 400, AT_ONCE))
    failed: list[BaseException] = []

    def write(store: VectorStore, starts: list[int]) -> None:
        try:
            for start in starts:
                store.upsert(rows(start, start + AT_ONCE))
        except BaseException as error:
            failed.append(error)

    orders = (starts[:10], starts[10:]) if kind == "lance" else (starts, starts[::-1])
    writers = [threading.Thread(target=write, args=pair) for pair in zip(stores, orders, strict=False)]
    for each in writers:
        each.start()
    while any(each.is_alive() for each in writers):
        assert stores[2].count() % AT_ONCE == 0
    for each in writers:
        each.join(60)
    assert failed == []
    check_rows(opener(kind, where)(), 400)
    for each in stores:
        if isinstance(each, PostgresStore | QdrantStore):
            each.close()
