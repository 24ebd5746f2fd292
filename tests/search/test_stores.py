"""LanceDB, PostgreSQL and Qdrant behind one protocol, each against plain numpy.

PostgreSQL is a server. Qdrant runs in its client's local mode, which compares every vector, and as its own engine
behind a server of the tests (``qdrant_server.py``): no package brings its binary.
"""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llave.errors import UserError
from llave.search.filters import Condition, parse_filter
from llave.search.lance import LanceStore, drop_table
from llave.search.qdrant import QdrantStore
from llave.search.qdrant_connect import drop_collection
from llave.search.store import Row, Settings, VectorStore, row_id
from tests.search.things import opened_store

D = 16
Open = Callable[[], VectorStore]


def row(place: int, vector_D: np.ndarray, **fields: str | float | bool | None) -> Row:
    return Row(
        id=row_id("s", str(place)),
        source="s",
        key=str(place),
        kind="text" if place % 2 else "image",
        text=f"text {place}",
        path=f"it's {place}.png",
        file="",
        stamp=f"stamp {place}",
        content=f"content {place}",
        digest=f"digest {place}",
        thumbnail=bytes([place]),
        fields=fields,
        vector_D=vector_D,
    )


@pytest.fixture(params=["lance", "qdrant", "qdrant server", "postgres", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    with opened_store(request.param, tmp_path, D) as opened:
        yield opened


@pytest.fixture
def rows() -> list[Row]:
    rng = np.random.default_rng(0)
    vector_ND = rng.normal(size=(60, D)).astype(np.float32)
    vector_ND /= np.linalg.norm(vector_ND, axis=1, keepdims=True)
    return [
        row(n, vector_ND[n], number=float(n), even=n % 2 == 0, part=None if n % 5 == 4 else f"part {n % 5}'s")
        for n in range(60)
    ]


def test_a_version_changes_with_the_rows(store: VectorStore, rows: list[Row]) -> None:
    versions = [store.version(), store.version()]
    assert versions[0] == versions[1]
    store.upsert(rows)
    versions.append(store.version())
    store.upsert([dataclasses.replace(rows[0], text="changed")])
    versions.append(store.version())
    store.delete([rows[0].id])
    versions.append(store.version())
    assert len(set(versions)) == 4


def test_columns(store: VectorStore, rows: list[Row]) -> None:
    assert store.column(["kind", "source"]) == {"kind": [], "source": []}
    store.upsert(rows)
    found = store.column(["id", "kind", "source"])
    kinds = dict(zip(found["id"], found["kind"], strict=True))
    assert kinds == {row.id: row.kind for row in rows}
    assert set(found["source"]) == {"s"}


def test_rows_that_are_new(store: VectorStore, rows: list[Row]) -> None:
    """They need not be looked for, and are found and replaced as others are."""
    store.upsert([], new=True)
    store.upsert(rows[:30], new=True)
    store.upsert([dataclasses.replace(row, fields={**row.fields, "more": 1}) for row in rows[30:]], new=True)
    store.upsert([dataclasses.replace(rows[0], text="changed")])
    assert store.count() == len(rows)
    assert {found.text for found in store.get([row.id for row in rows[:2]]).values()} == {"changed", rows[1].text}
    assert store.count(Condition("more", "=", 1)) == 30
    assert store.nearest(rows[40].vector_D, limit=1, exact=True)[0][0].id == rows[40].id  # type: ignore[arg-type]


def test_a_source_gets_another_path(store: VectorStore, rows: list[Row]) -> None:
    store.upsert(rows[:3])
    store.upsert([dataclasses.replace(rows[3], source="other")])
    store.relocate("s", 'it\'s "new"')
    assert dict(store.known("s")) == {}
    assert dict(store.known('it\'s "new"')).keys() == {each.id for each in rows[:3]}
    assert dict(store.known("other")).keys() == {rows[3].id}
    assert store.get([rows[0].id], vectors=True)[rows[0].id].vector_D == pytest.approx(rows[0].vector_D, abs=1e-6)


def test_tables_lie_side_by_side_and_are_dropped(tmp_path: Path, rows: list[Row]) -> None:
    """Twice, since a kill may come after the first time."""
    old, new = LanceStore(tmp_path / "db", D), LanceStore(tmp_path / "db", D // 2, "items-1")
    old.upsert(rows)
    assert (old.count(), new.count()) == (60, 0)
    for _ in range(2):
        drop_table(tmp_path / "db", "items")
    assert new.count() == 0
    assert LanceStore(tmp_path / "db", D // 2).count() == 0
    types = tmp_path / "fields.json"
    with closing(QdrantStore(tmp_path / "qdrant", "items", D, types)) as opened:
        opened.upsert(rows)
    for _ in range(2):
        drop_collection(tmp_path / "qdrant", "items", types)
    assert not list(tmp_path.glob("fields*"))
    with closing(QdrantStore(tmp_path / "qdrant", "items", D // 2, types)) as opened:
        assert opened.count() == 0


@pytest.mark.filterwarnings("ignore:Local mode performs exact")
def test_nearest_is_what_numpy_finds(store: VectorStore, rows: list[Row]) -> None:
    store.upsert(rows)
    vector_ND = np.stack([each.vector_D for each in rows if each.vector_D is not None])
    query_D = vector_ND[3] + 0.8 * vector_ND[7]
    query_D /= np.linalg.norm(query_D)
    cosine_N = vector_ND @ query_D
    conditions = {
        "": lambda r: True,
        'part = "part 1\'s"': lambda r: r.fields["part"] == "part 1's",
        'part != "part 1\'s"': lambda r: r.fields["part"] != "part 1's",
        "number >= 10 and number < 20": lambda r: 10 <= r.fields["number"] < 20,
        "number = 7": lambda r: r.fields["number"] == 7,
        "number in (3, 7, 9)": lambda r: r.fields["number"] in (3, 7, 9),
        "even = true and kind = image": lambda r: r.fields["even"] and r.kind == "image",
        "even = false": lambda r: not r.fields["even"],
        'path = "it\'s 5.png"': lambda r: r.path == "it's 5.png",
    }
    for text, passes in conditions.items():
        expected = [n for n in np.argsort(-cosine_N) if passes(rows[n])]
        found = store.nearest(query_D, limit=8, conditions=parse_filter(text))
        assert [each.key for each, _ in found] == [str(n) for n in expected[:8]], text
        np.testing.assert_allclose([score for _, score in found], cosine_N[expected[:8]], atol=2e-6)
        assert store.count(parse_filter(text)) == len(expected)
    assert found[0][0].fields == rows[5].fields
    assert found[0][0].vector_D is None


def test_writing_again_changes_nothing(store: VectorStore, rows: list[Row]) -> None:
    store.upsert(rows)
    store.upsert(rows[10:30])
    assert store.count() == 60
    changed = row(3, rows[4].vector_D, number=-1.0, fresh="new")  # type: ignore[arg-type]
    store.upsert([changed])
    assert store.count() == 60
    got = store.get([changed.id], vectors=True, thumbnails=True)[changed.id]
    np.testing.assert_allclose(got.vector_D, rows[4].vector_D, atol=1e-6)  # type: ignore[arg-type]
    assert got.thumbnail == bytes([3])
    assert {name: value for name, value in got.fields.items() if value is not None} == {"number": -1.0, "fresh": "new"}
    assert store.fields() == {"number": "number", "even": "boolean", "part": "string", "fresh": "string"}
    store.delete([changed.id, row_id("s", "unknown")])
    assert store.count() == 59
    assert store.get([changed.id]) == {}


def test_a_field_in_another_script(store: VectorStore, rows: list[Row]) -> None:
    store.upsert([dataclasses.replace(each, fields={"год": float(place)}) for place, each in enumerate(rows)])
    assert store.count(Condition("год", ">=", 50.0)) == 10
    assert store.column(["год"])["год"].count(7.0) == 1


def test_what_is_known(store: VectorStore, rows: list[Row]) -> None:
    store.upsert(rows)
    known = dict(store.known("s"))
    assert len(known) == 60
    assert known[rows[5].id].stamp == "stamp 5"
    assert known[rows[5].id].content == "content 5"
    assert list(store.known("another")) == []
    columns = store.column(["id", "kind", "number"])
    assert dict(zip(columns["id"], columns["number"], strict=True))[rows[8].id] == 8.0
    assert store.get(["nonsense", rows[1].id]).keys() == {rows[1].id}


def test_a_sample_of_vectors(store: VectorStore, rows: list[Row]) -> None:
    store.upsert(rows)
    ids, vector_ND = store.vectors(limit=None)
    by_id = {each.id: each.vector_D for each in rows}
    assert len(ids) == 60
    for each, vector_D in zip(ids, vector_ND, strict=True):
        np.testing.assert_allclose(vector_D, by_id[each], atol=1e-6)  # type: ignore[arg-type]
    few, _ = store.vectors(limit=7)
    assert few == store.vectors(limit=7)[0]
    assert len(set(few)) == 7
    none, empty = store.vectors(limit=5, conditions=parse_filter("number > 1000"))
    assert none == []
    assert len(empty) == 0


def test_what_does_not_fit_is_refused(store: VectorStore, rows: list[Row]) -> None:
    store.upsert(rows)
    with pytest.raises(UserError, match="no field 'colour'"):
        store.count(parse_filter("colour = red"))
    assert store.count() == 60


def test_reopened(tmp_path: Path, rows: list[Row]) -> None:
    LanceStore(tmp_path / "db", D).upsert(rows)
    assert LanceStore(tmp_path / "db", D).count() == 60
    with closing(QdrantStore(tmp_path / "q", "items", D, tmp_path / "f.json")) as first:
        first.upsert(rows)
    with closing(QdrantStore(tmp_path / "q", "items", D, tmp_path / "f.json")) as second:
        assert second.count(parse_filter("even = true")) == 30
    with pytest.raises(UserError, match="16 dimensions, not 8"):
        QdrantStore(tmp_path / "q", "items", 8, tmp_path / "f.json")


def test_approximate_search(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vector_ND = rng.normal(size=(3000, D)).astype(np.float32)
    vector_ND /= np.linalg.norm(vector_ND, axis=1, keepdims=True)
    store = LanceStore(tmp_path / "db", D)
    rows = [_later(n, v) for n, v in enumerate(vector_ND)]
    store.upsert(rows)
    store.optimize(exact_below=10_000, settings=Settings())
    assert not store.stats().approximate
    store.optimize(exact_below=1000, settings=Settings(probes=16, refine=8))
    assert store.stats().approximate
    assert store.stats().unindexed == 0
    fresh = _later(5000, vector_ND[0])
    store.upsert([fresh])
    assert store.stats().unindexed == 1
    hits = 0
    for query_D in vector_ND[:50]:
        exact = {each.id for each, _ in store.nearest(query_D, limit=10, exact=True)}
        hits += len(exact & {each.id for each, _ in store.nearest(query_D, limit=10)})
    assert hits >= 0.98 * 500
    assert {each.id for each, _ in store.nearest(vector_ND[0], limit=2)} == {
        rows[0].id,
        fresh.id,
    }  # not indexed, yet found


def _later(number: int, vector_D: np.ndarray) -> Row:
    return Row(
        id=row_id("s", str(number)),
        source="s",
        key=str(number),
        kind="text",
        text="",
        path="",
        file="",
        stamp="",
        content="",
        digest="",
        fields={"number": float(number % 10)},
        vector_D=vector_D,
    )


def test_rows_are_ordered_by_a_field(store: VectorStore, rows: list[Row]) -> None:
    store.upsert(rows)
    by_id = {each.id: each for each in rows}

    def keys(**how: Any) -> list[str]:
        return [by_id[row_id].key for row_id in store.ordered(**how)]

    assert keys(sort="number", descending=True)[:3] == ["59", "58", "57"]
    assert keys(sort="number")[2:5] == ["2", "3", "4"]
    assert keys() == sorted(str(n) for n in range(60))
    parts = [by_id[row_id].fields.get("part") for row_id in store.ordered(sort="part", descending=True)]
    assert parts[0] == "part 3's"
    assert parts[48:] == [None] * 12
    even = keys(conditions=parse_filter("even = true"), sort="number")
    assert even == [str(n) for n in range(0, 60, 2)]
    with pytest.raises(UserError, match="sort: no field 'colour'"):
        store.ordered(sort="colour")
