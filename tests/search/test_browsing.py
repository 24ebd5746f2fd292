"""Items without a query, in both stores: by the time of their files, at random, page by page, and folder by folder."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from llave.errors import UserError
from llave.search.browsing import Folder, folders_in
from llave.search.filters import parse_filter
from llave.search.index import Index
from llave.search.info import IndexInfo
from llave.search.store import Row, VectorStore, row_id
from tests.search.test_schema import D, row
from tests.search.things import opened_store

PATHS = {"a": "pets/cat.jpg", "b": "pets/old/dog.jpg", "c": "pets/old/cow.jpg", "d": "pets.txt", "e": ""}
TIMES = {"a": "9:300:x", "b": "10:1000:x", "c": "7:200:x", "d": "", "e": "gone"}


def rows(**fields: int) -> list[Row]:
    return [dataclasses.replace(row(key, **fields), path=path, stamp=TIMES[key]) for key, path in PATHS.items()]


@pytest.fixture(params=["lance", "qdrant", "qdrant server", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    with opened_store(request.param, tmp_path, D) as opened:
        yield opened


@pytest.fixture
def index(store: VectorStore, tmp_path: Path) -> Index:
    made = Index(tmp_path, IndexInfo(model="m", fingerprint="f", dimension=D), store)
    made.save()
    store.upsert(rows())
    return made


def keys(index: Index, **how: object) -> str:
    names = {row_id("s", key): key for key in PATHS}
    return "".join(names[hit.id] for hit in index.browse(**how))  # type: ignore[arg-type]


def test_the_newest_files_come_first(index: Index) -> None:
    assert keys(index, sort="-modified") == "bacde"
    assert keys(index, sort="modified") == "cabde"


def test_a_field_of_that_name_is_the_users(index: Index, store: VectorStore) -> None:
    fields = {"a": 3, "b": 1, "c": 2, "d": 5, "e": 4}
    store.upsert([dataclasses.replace(each, fields={"modified": fields[each.key]}) for each in rows()])
    assert keys(index, sort="-modified") == "deacb"


def test_a_random_order_is_one_and_the_same_for_a_seed(index: Index) -> None:
    orders = {seed: keys(index, seed=seed) for seed in range(20)}
    assert all(sorted(order) == list("abcde") for order in orders.values())
    assert len(set(orders.values())) > 10
    for seed, order in orders.items():
        assert "".join(keys(index, seed=seed, limit=2, offset=at) for at in (0, 2, 4)) == order
        some = keys(index, seed=seed, filter="path starts pets/")
        assert some == "".join(key for key in order if key in "abc")


def test_a_change_is_seen_at_once(index: Index, store: VectorStore) -> None:
    assert keys(index) == "abcde"
    store.delete([row_id("s", "b")])
    assert keys(index) == "acde"
    assert [folder.count for folder in Index(index.path, index.info, store).folders()] == [2]


def test_no_such_field(index: Index) -> None:
    with pytest.raises(UserError, match="modified"):
        index.browse(sort="nonsense")


def test_folders_count_what_is_below_and_filter(index: Index) -> None:
    assert index.folders() == [Folder("pets/", 3, True)]
    assert index.folders("pets/") == [Folder("pets/old/", 2, False)]
    assert index.folders("pets/old/") == index.folders("no/") == []
    assert index.count(parse_filter("path starts pets/old/")) == 2
    assert index.folders("pets/")[0].name == "old"


def test_folders_of_a_users_own_paths_are_not_guessed(index: Index, store: VectorStore) -> None:
    store.upsert([dataclasses.replace(each, fields={"path": "x/y"}) for each in rows()])
    assert index.folders() == []


def test_every_path_is_in_one_folder() -> None:
    paths = sorted(f"{a}/{b}/{n}.png" for a in ("x", "x y", "x/z", "é") for b in "pq" for n in range(3))
    assert [folder.path for folder in folders_in(paths)] == ["x y/", "x/", "é/"]

    def below(under: str) -> int:
        inner = folders_in(paths, under)
        direct = [path for path in paths if path.startswith(under) and "/" not in path[len(under) :]]
        assert all(folder.count == below(folder.path) for folder in inner)
        assert all(folder.folders == bool(folders_in(paths, folder.path)) for folder in inner)
        return len(direct) + sum(folder.count for folder in inner)

    assert below("") == len(paths) == 24
