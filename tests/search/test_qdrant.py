"""What only a Qdrant server has: outages in the middle of a run, and its index."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from llave.errors import UserError
from llave.search import qdrant_connect
from llave.search.filters import parse_filter
from llave.search.qdrant import QdrantStore
from llave.search.qdrant_connect import drop_collection
from llave.search.store import Settings, row_id
from tests.search.qdrant_server import QdrantServer, qdrant_server, serving
from tests.search.things import D, row

OUTAGES = {
    "closed": (None, "before"),
    "closed, but done": (None, "after"),
    "503": (503, "before"),
    "429": (429, "after"),
}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[QdrantStore, QdrantServer]]:
    with qdrant_server(tmp_path) as (address, server):
        yield QdrantStore(address, "items", D, tmp_path / "fields.json"), server


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdrant_connect, "WAITS", (0.01, 0.02, 0.03))


@pytest.mark.filterwarnings("ignore:Failed to obtain server version")
def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9: no Qdrant server that answers \("):
        QdrantStore("http://127.0.0.1:9", "items", D, tmp_path / "f.json")


@pytest.mark.parametrize("outage", OUTAGES)
def test_an_outage_in_the_middle_is_waited_for(served: tuple[QdrantStore, QdrantServer], outage: str) -> None:
    """Whatever is called, and whether or not it was done before the connection was closed."""
    store, server = served
    store.upsert([row(str(n), size=n) for n in range(5)])

    def away(times: int = 3) -> None:
        server.outages.extend([OUTAGES[outage]] * times)

    away()
    store.upsert([row(str(n), size=n) for n in range(5, 9)])
    away()
    store.set_field("label", {row_id("s", "1"): "one"})
    away()
    store.delete([row_id("s", "0")])
    away()
    assert store.count(parse_filter("size >= 1")) == 8
    away()
    assert sorted(each.key for each, _ in store.nearest(np.ones(D, np.float32), limit=9)) == [*"12345678"]
    away(2)
    assert store.get([row_id("s", "1")])[row_id("s", "1")].fields["label"] == "one"
    assert not server.outages


def test_a_server_that_stays_away(served: tuple[QdrantStore, QdrantServer]) -> None:
    store, server = served
    store.upsert([row("a")])
    for outage, reason in (("closed", "disconnected"), ("503", "503 away")):
        server.outages.extend([OUTAGES[outage]] * 4)
        with pytest.raises(UserError, match=rf"does not answer any more \(.*{reason}.*\); what was written") as caught:
            store.upsert([row("b")])
        assert "\n" not in str(caught.value)
        assert not server.outages
    assert store.count() == 1
    store.upsert([row("b")])
    assert store.count() == 2


@pytest.mark.filterwarnings("ignore:Failed to obtain server version")
def test_a_server_that_is_started_anew_at_its_address(tmp_path: Path) -> None:
    server = QdrantServer(tmp_path)
    with serving(server) as address:
        store = QdrantStore(address, "items", D, tmp_path / "fields.json")
        store.upsert([row("a")])
    with pytest.raises(UserError, match="does not answer any more"):
        store.count()
    with serving(server, int(address.rpartition(":")[2])):
        store.upsert([row("b")])
        assert store.count() == 2


def test_what_is_refused_is_not_asked_again(served: tuple[QdrantStore, QdrantServer]) -> None:
    store, server = served
    store.upsert([row("a")])
    drop_collection(str(store._client._address), "items", store._types)
    before = len(server.requests)
    with pytest.raises(UserError, match=r"Qdrant says: 404 Not found: Collection `items` doesn't exist!"):
        store.version()
    server.outages.append((401, "before"))
    with pytest.raises(UserError, match=r"Qdrant says: 401 away"):
        store.count()
    assert len(server.requests) == before + 2


def test_approximate_search(served: tuple[QdrantStore, QdrantServer]) -> None:
    """Recall of the engine's graph with filters and without, and none that is written later is missed."""
    store, _ = served
    rng = np.random.default_rng(0)
    vector_ND = rng.normal(size=(40, D))[rng.integers(40, size=2000)] + 0.5 * rng.normal(size=(2000, D))
    vector_ND = (vector_ND / np.linalg.norm(vector_ND, axis=1, keepdims=True)).astype(np.float32)
    store.upsert([row(str(n), vector, tenth=n % 10, word=f"w{n % 200}") for n, vector in enumerate(vector_ND)])
    store.optimize(exact_below=10_000, settings=Settings())
    assert not store.stats().approximate
    store.optimize(exact_below=500, settings=Settings(5, 8))
    assert (store.stats().approximate, store.stats().unindexed) == (True, 0)
    keys = np.arange(2000)
    for text, passes in {"": keys >= 0, "tenth = 3": keys % 10 == 3, "word = w7": keys % 200 == 7}.items():
        hits = wanted = 0
        for query_D in vector_ND[::100]:
            cosine_N = np.where(passes, vector_ND @ query_D, -2)
            best = {str(n) for n in np.argsort(-cosine_N)[:10] if passes[n]}
            found = store.nearest(query_D, limit=10, conditions=parse_filter(text))
            hits += len(best & {each.key for each, _ in found})
            wanted += len(best)
            exact = store.nearest(query_D, limit=10, conditions=parse_filter(text), exact=True)
            assert {each.key for each, _ in exact} == best
        assert hits >= 0.97 * wanted, text
    store.upsert([row("fresh", vector_ND[5])])
    assert {each.key for each, _ in store.nearest(vector_ND[5], limit=2)} == {"5", "fresh"}
    assert json.loads(store._types.read_text()) == {"tenth": "integer", "word": "string"}
