"""Approximate search by fewer dimensions and smaller numbers, against plain numpy."""

import dataclasses
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import llave.search.lance_prefix
from llave.errors import UserError
from llave.search.filters import EVERYTHING, parse_filter
from llave.search.lance import LanceStore
from llave.search.qdrant import QdrantStore
from llave.search.store import Row, Settings, SmallPrecision, row_id
from llave.search.words import Words

N = 2000
ALL_PARTS = 16


def vectors(count: int, dimension: int, *, seed: int = 0, strong: int | None = None) -> np.ndarray:
    """Of unit length, in clusters; the first ``strong`` dimensions are ten times the others."""
    rng = np.random.default_rng(seed)
    centre_CD = rng.normal(size=(20, dimension))
    vector_ND = centre_CD[rng.integers(20, size=count)] + 0.7 * rng.normal(size=(count, dimension))
    vector_ND[:, slice(strong, None) if strong else slice(0)] *= 0.1
    vector_ND /= np.linalg.norm(vector_ND, axis=1, keepdims=True)
    return vector_ND.astype(np.float32)


def row(number: int, vector_D: np.ndarray) -> Row:
    texts = dict.fromkeys(("text", "path", "file", "stamp", "content", "digest"), "")
    fields = {"tenth": number % 10, "name": f"n{number}"}
    key = str(number)
    return Row(id=row_id("s", key), source="s", key=key, kind="text", **texts, fields=fields, vector_D=vector_D)


def opened(folder: Path, vector_ND: np.ndarray, settings: Settings) -> LanceStore:
    """A store with these rows, and an approximate index of them."""
    store = LanceStore(folder / "db", vector_ND.shape[1])
    store.upsert([row(number, vector_D) for number, vector_D in enumerate(vector_ND)])
    store.keep_words(Words())
    store.optimize(exact_below=100, settings=settings)
    return store


def names(store: LanceStore) -> set[str]:
    return set(store._table.schema.names)


def check_found(store: LanceStore, vector_ND: np.ndarray, keys: np.ndarray, at_least: float, filter: str = "") -> None:
    """Recall of the ten best of these rows, and the cosines of what is found."""
    conditions = parse_filter(filter) if filter else EVERYTHING
    hits = 0
    for query_D in vector_ND[keys[::40]]:
        cosine_N = vector_ND @ query_D
        best = set(keys[np.argsort(-cosine_N[keys])[:10]])
        found = store.nearest(query_D, limit=10, conditions=conditions)
        places = [int(each.key) for each, _ in found]
        scores = [score for _, score in found]
        assert len(set(places)) == 10
        assert set(places) <= set(keys)
        np.testing.assert_allclose(scores, cosine_N[places], atol=2e-6)
        assert scores == sorted(scores, reverse=True)
        hits += len(best & set(places))
        exact = store.nearest(query_D, limit=10, conditions=conditions, exact=True)
        assert {int(each.key) for each, _ in exact} == best
    assert hits >= at_least * 10 * len(keys[::40])


@pytest.mark.parametrize(("precision", "prefix"), product(("int8", "binary"), (None, 24, 13)))
@pytest.mark.parametrize("dimension", [48, 45])
def test_small_vectors_find_what_whole_ones_do(
    tmp_path: Path, dimension: int, precision: SmallPrecision, prefix: int | None
) -> None:
    """Of all, of those that pass a filter, and after rows were added, changed and removed: none is lost."""
    vector_ND = vectors(N + 20, dimension, strong=prefix)
    settings = Settings(ALL_PARTS, 30, precision, prefix)
    store = opened(tmp_path, vector_ND[:N], settings)
    assert store.stats().approximate
    assert store.stats().unindexed == 0
    check_found(store, vector_ND[:N], np.arange(N), 0.97)
    check_found(store, vector_ND[:N], np.arange(N)[3::10], 0.97, "tenth = 3")
    store.upsert([row(number, vector_ND[number]) for number in range(N, N + 20)])
    vector_ND[5] = vector_ND[N + 3]
    store.upsert([row(5, vector_ND[5])])
    store.delete([row_id("s", str(number)) for number in range(10, 20)])
    assert store.stats().unindexed == 21
    there = np.setdiff1d(np.arange(N + 20), np.arange(10, 20))
    check_found(store, vector_ND, there, 0.97)
    found = {each.key for each, _ in store.nearest(vector_ND[5], limit=2)}
    assert found == {"5", str(N + 3)}
    again = LanceStore(tmp_path / "db", dimension)
    again.optimize(exact_below=100, settings=settings)
    assert again.stats().unindexed == 0
    check_found(again, vector_ND, there, 0.97)
    assert again.nearest(vector_ND[7], limit=5, conditions=parse_filter("tenth = 11")) == []
    assert len(again.nearest(vector_ND[7], limit=5, conditions=parse_filter("tenth < 0 or name = n7"))) == 1
    hit = again.nearest(vector_ND[7], limit=1)[0][0]
    assert (hit.fields, hit.vector_D) == ({"tenth": 7, "name": "n7"}, None)
    assert set(again.fields()) == {"tenth", "name"}


def test_another_choice_replaces_the_first_stage(tmp_path: Path) -> None:
    vector_ND = vectors(N, 48, strong=16)
    store = opened(tmp_path, vector_ND, Settings())
    before = names(store)
    for settings, column in (
        (Settings(ALL_PARTS, 30, "int8", 16), "_prefix16"),
        (Settings(ALL_PARTS, 30, "binary", 16), "_prefix16"),
        (Settings(ALL_PARTS, 30, "binary", 24), "_prefix24"),
        (Settings(ALL_PARTS, 30, "binary"), None),
        (Settings(ALL_PARTS, 8), None),
    ):
        store.optimize(exact_below=100, settings=settings)
        assert names(store) == before | ({column} if column else set())
        kinds = {index.name: index.index_type for index in store._table.list_indices()}
        first = f"prefix{settings.prefix}_idx" if column else "vector_idx"
        assert {name for name in kinds if name not in ("id_idx", "words_idx", "spelled_idx")} == {first}
        assert kinds[first] == {"int8": "IvfSq", "binary": "IvfRq"}[settings.precision]
        check_found(store, vector_ND, np.arange(N), 0.97)


def test_other_settings_than_the_table_has_are_slow_and_right(tmp_path: Path) -> None:
    """As a reader has them, while a writer changes the table."""
    vector_ND = vectors(N, 48)
    store = opened(tmp_path, vector_ND, Settings())
    store.use(Settings(ALL_PARTS, 8, "binary", 8))
    check_found(store, vector_ND, np.arange(N), 0.97)
    store.optimize(exact_below=100, settings=Settings(ALL_PARTS, 8, "binary", 24))
    store.use(Settings(ALL_PARTS, 8))
    check_found(store, vector_ND, np.arange(N), 1.0)


def test_killed_while_it_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody searches in a column that is not full; rows that come in between are in it in the end, and it goes on
    where it was."""
    vector_ND = vectors(N, 48, strong=24)
    settings = Settings(ALL_PARTS, 30, "int8", 24)
    store = opened(tmp_path, vector_ND, Settings())
    monkeypatch.setattr(llave.search.lance_prefix, "ROWS_AT_ONCE", 300)
    got = store.get
    asked: list[int] = []

    def killed(*args: object, **options: object) -> dict[str, Row]:
        asked.append(len(args[0]))  # type: ignore[arg-type]
        if len(asked) == 3:
            raise KeyboardInterrupt
        return got(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "get", killed)
    with pytest.raises(KeyboardInterrupt):
        store.optimize(exact_below=100, settings=settings)
    monkeypatch.undo()
    monkeypatch.setattr(llave.search.lance_prefix, "ROWS_AT_ONCE", 300)
    store = LanceStore(tmp_path / "db", 48)
    assert "_filling24" in names(store)
    assert "_prefix24" not in names(store)
    store.use(settings)
    check_found(store, vector_ND, np.arange(N), 1.0)
    fresh = vectors(30, 48, seed=1, strong=24)
    vector_ND = np.concatenate([vector_ND, fresh[10:]])
    vector_ND[:10] = fresh[:10]
    store.upsert([row(number, vector_ND[number]) for number in (*range(10), *range(N, N + 20))])
    store.optimize(exact_below=100, settings=settings)
    assert "_prefix24" in names(store)
    assert "_filling24" not in names(store)
    filled = store._table.search().select(["id", "vector", "_prefix24"]).to_arrow()
    assert filled["_prefix24"].null_count == 0
    first_ND = llave.search.lance_prefix.matrix_of(filled["vector"])[:, :24]
    first_ND = first_ND / np.linalg.norm(first_ND, axis=1, keepdims=True)
    np.testing.assert_allclose(llave.search.lance_prefix.matrix_of(filled["_prefix24"]), first_ND, atol=1e-6)
    check_found(store, vector_ND, np.arange(N + 20), 0.97)
    store.optimize(exact_below=100, settings=Settings())
    assert not {name for name in names(store) if name.startswith(("_prefix", "_filling"))}


def test_fields_of_such_names_are_the_users(tmp_path: Path) -> None:
    vector_ND = vectors(200, 16)
    store = opened(tmp_path, vector_ND, Settings(ALL_PARTS, 8, "int8", 8))
    named = {"_prefix8": "mine", "_filling8": 1, "prefix8": 2.5}
    changed = dataclasses.replace(row(3, vector_ND[3]), fields=named)
    store.upsert([changed])
    assert {name: store.fields()[name] for name in named} == {
        "_prefix8": "string",
        "_filling8": "integer",
        "prefix8": "number",
    }
    found = store.nearest(vector_ND[3], limit=1, conditions=parse_filter("prefix8 = 2.5"))[0][0]
    assert {name: found.fields[name] for name in named} == named


def test_first_dimensions_of_nothing(tmp_path: Path) -> None:
    """A query whose first dimensions are all zero has no direction there, and is compared with whole vectors. Items of
    that kind do no harm."""
    vector_ND = vectors(N, 16)
    vector_ND[50:60, :4] = 0
    vector_ND /= np.linalg.norm(vector_ND, axis=1, keepdims=True)
    store = opened(tmp_path, vector_ND, Settings(ALL_PARTS, 8, "int8", 4))
    query_D = vector_ND[3].copy()
    query_D[:4] = 0
    query_D /= np.linalg.norm(query_D)
    best = np.argsort(-(vector_ND @ query_D))[:5]
    assert [int(each.key) for each, _ in store.nearest(query_D, limit=5)] == best.tolist()


def test_what_there_is_not() -> None:
    with pytest.raises(UserError, match="precision 'int4': one of int8, binary"):
        Settings(precision="int4")  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [Settings(precision="binary"), Settings(prefix=8)])
def test_qdrant_says_that_it_has_them_not(tmp_path: Path, settings: Settings) -> None:
    store = QdrantStore(tmp_path / "q", "items", 16, tmp_path / "f.json")
    with pytest.raises(UserError, match="LanceDB's alone"):
        store.optimize(exact_below=1, settings=settings)
    store.close()
