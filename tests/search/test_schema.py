"""Types and names of fields in both stores, filters of every form against plain Python, and types that change."""

import dataclasses
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from llave.collection.types import Date, Scalar
from llave.errors import UserError
from llave.search.filters import parse_filter
from llave.search.index import Index
from llave.search.info import IndexInfo
from llave.search.lance import LanceStore
from llave.search.lance_rows import TEXTS
from llave.search.near import suggest
from llave.search.qdrant import QdrantStore
from llave.search.schema import Schema
from llave.search.sources import Source, read_sources
from llave.search.store import Row, VectorStore, row_id
from tests.search.things import opened_store

D = 4
INFO = IndexInfo(model="m", fingerprint="f", dimension=D)
BIG = 2**53


def row(key: str, *, source: str = "s", **fields: Scalar) -> Row:
    own = dict.fromkeys(("kind", "text", "path", "file", "stamp", "content", "digest"), "")
    vector_D = np.array([1, 0, 0, 0], np.float32)
    return Row(id=row_id(source, key), source=source, key=key, **own, fields=fields, vector_D=vector_D)


def named(key: str, fields: dict[str, Scalar]) -> Row:
    return dataclasses.replace(row(key), fields=fields)


@pytest.fixture(params=["lance", "qdrant", "qdrant server", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    with opened_store(request.param, tmp_path, D) as opened:
        yield opened


def listed(store: VectorStore, **order: Any) -> list[Row]:
    """Rows in an order."""
    ids = store.ordered(**order)
    rows = store.get(ids)
    return [rows[row_id] for row_id in ids]


def found(store: VectorStore, text: str) -> str:
    return "".join(each.key for each in listed(store, conditions=parse_filter(text)))


def values(store: VectorStore, name: str) -> dict[str, Scalar]:
    found = {each.key: each.fields[name] for each in listed(store)}
    assert Counter(store.column([], [name])[name]) == Counter(found.values())
    return found


def test_every_type(store: VectorStore) -> None:
    days = ["2024-05-01", "2024-05-01T10:00", "2024-05-31 23:59:59.5", "2024-06-01T00:30:00+02:00", None]
    zips = ["01234", "1234", None, "90210", "00501"]
    sizes = [BIG + 1, BIG, -(2**63), 2**63 - 1, None]
    rows = [
        row(
            key, day=None if day is None else Date(day), zip=code, size=size, good=None if code is None else size == BIG
        )
        for key, day, code, size in zip("abcde", days, zips, sizes, strict=True)
    ]
    store.upsert(rows)
    assert store.fields() == {"day": "date", "zip": "string", "size": "integer", "good": "boolean"}
    assert values(store, "size") == dict(zip("abcde", sizes, strict=True))
    assert values(store, "day") == dict(zip("abcde", days, strict=True))
    expected = {
        "zip = 01234": "a",
        "zip != 01234": "bcde",
        "not zip in (01234, 1234)": "cde",
        "zip is null": "c",
        "zip is not null": "abde",
        "zip starts 0": "ae",
        "zip like 0%": "ae",
        "zip like %23%": "ab",
        f"size = {BIG}": "b",
        f"size in ({BIG + 1}, 9223372036854775807, -9223372036854775808)": "acd",
        "size >= 0.5": "abd",
        f"size < {BIG}": "c",
        f"not size < {BIG}": "abde",
        "good = True": "b",
        "good != true": "acde",
        "day >= 2024-05": "abcd",
        "day = 2024-05": "abcd",
        "day = 2024-05-31": "cd",
        "day < 2024-05-01T10:00": "a",
        "day <= 2024-05-01T10:00": "ab",
        "day > 2024-05-01": "cd",
        "day != 2024-05-01": "cde",
        "day > 2024": "",
        "day between 2024-05-01T09:00 and 2024-05-31": "bcd",
        "(zip = 01234 or zip = 00501) and not day is null": "a",
        "zip = 01234 or (zip = 00501 and not day is not null)": "ae",
        "not (zip = 01234 or size < 0)": "bde",
        "size = 1.5": "",
    }
    assert {text: found(store, text) for text in expected} == expected
    assert [each.key for each in listed(store, sort="day", descending=True)] == ["c", "d", "b", "a", "e"]
    assert [each.key for each in listed(store, sort="size")] == ["c", "b", "a", "d", "e"]


def test_patterns(tmp_path: Path) -> None:
    rows = [named(key, {"name": name}) for key, name in zip("abc", ["50%_x", "Fifty", "it's"], strict=True)]
    lance = LanceStore(tmp_path / "db", D)
    lance.upsert(rows)
    expected = {r"name like '50\%%'": "a", "name like F_f%": "b", "name ilike fI%": "b", 'name like "%\'s"': "c"}
    assert {text: found(lance, text) for text in expected} == expected
    with closing(QdrantStore(tmp_path / "q", "items", D, tmp_path / "f.json")) as qdrant:
        qdrant.upsert(rows)
        assert found(qdrant, "name like %ift%") == found(qdrant, "name like Fifty") == "b"
        for text in ("name like F_f%", "name ilike fi%", "name like a%b"):
            with pytest.raises(UserError, match="Qdrant finds texts with like 'beginning%'"):
                qdrant.count(parse_filter(text))
        qdrant.upsert([row("z", size=1)])
        with pytest.raises(UserError, match=r"up to 2\^53"):
            qdrant.count(parse_filter(f"size > {BIG + 1}"))


NAMES = [
    "_distance",
    "_rowid",
    "_rowaddr",
    "_score",
    "_relevance_score",
    "id",
    "ID",
    "vector",
    "Vector",
    "path",
    "kind",
]
NAMES += ["text", "source", "key", "a b", "a.b", "a-b", "a_b", "A_B", "1st", "a`b", 'a"b', "$a", "год", "", "or", "not"]


@pytest.mark.filterwarnings("ignore:Local mode performs exact")
def test_users_names_are_kept(store: VectorStore) -> None:
    store.upsert([named("a", dict.fromkeys(NAMES, 1)), named("b", {name: n for n, name in enumerate(NAMES, 2)})])
    assert store.fields() == dict.fromkeys(NAMES, "integer")
    (hit, score), _ = store.nearest(np.array([1, 0, 0, 0], np.float32), limit=2)
    assert set(hit.fields) == set(NAMES)
    assert score == pytest.approx(1)
    assert store.get([row_id("s", "b")])[row_id("s", "b")].fields == {name: n for n, name in enumerate(NAMES, 2)}
    for number, name in enumerate(NAMES, 2):
        quoted = f'"{name}"'.replace('"b"', '\\"b"') if '"' in name else f'"{name}"'
        assert found(store, f"{quoted} = 1") == "a", name
        if "`" not in name:
            assert found(store, f"`{name}` = {number}") == "b", name
        assert [each.key for each in listed(store, sort=name, descending=True)] == ["b", "a"]
        assert values(store, name) == {"a": 1, "b": number}


def test_a_type_widens_with_its_values(store: VectorStore) -> None:
    store.upsert([row("a", n=1, b=True, d=Date("2024-05-01"), x=BIG + 1)])
    store.upsert([row("b", n=2.5, b=3, d="soon", x=0.5)])
    assert store.fields() == {"n": "number", "b": "string", "d": "string", "x": "string"}
    assert values(store, "n") == {"a": 1.0, "b": 2.5}
    assert values(store, "b") == {"a": "true", "b": "3"}
    assert values(store, "d") == {"a": "2024-05-01", "b": "soon"}
    assert values(store, "x") == {"a": str(BIG + 1), "b": "0.5"}
    assert found(store, "n >= 2") == found(store, "d = soon") == "b"
    store.retype({"b": "integer", "n": None})
    assert store.fields() == {"b": "string", "d": "string", "x": "string"}
    assert "n" not in store.get([row_id("s", "a")])[row_id("s", "a")].fields
    store.retype({"d": "string", "x": "number"})
    assert store.fields()["x"] == "string"
    store.retype({"b": "string"})
    store.upsert([row("a", b="7"), row("b", b="-3")])
    store.retype({"b": "integer"})
    assert values(store, "b") == {"a": 7, "b": -3}
    assert found(store, "b < 0") == "b"


def test_the_schema_follows_its_sources(store: VectorStore, tmp_path: Path) -> None:
    def update(source: str, *years: Scalar, complete: bool = True) -> list[str]:
        index = Index(tmp_path, INFO, store)
        sources = read_sources(index)
        schema = Schema(index, sources.get(source) or Source(path=source, name=source))
        rows = [row(str(n), source=source, year=year) for n, year in enumerate(years)]
        for each in rows:
            schema.see(each.fields)
        store.upsert(rows)
        return schema.settle(complete=complete)

    assert update("s", "1999", "2001") == []
    assert store.fields() == {"year": "string"}
    assert update("s", 1999, 2001) == ["field 'year': its type was string, and is integer now"]
    assert store.count(parse_filter("year > 2000")) == 1
    assert update("s", 1999, 2001) == []
    assert update("s", 1999.5, 2001) == ["field 'year': its type was integer, and is number now"]
    mixed = "field 'year': string and integer in different rows, so that all of them are kept as texts"
    assert update("s", 1999, "unknown") == [mixed]
    assert values(store, "year") == {"0": "1999", "1": "unknown"}
    assert update("s", 1999, 2000) == ["field 'year': its type was string, and is integer now"]
    assert update("t", "1999") == [mixed]
    assert update("s", 1999, 2000) == [mixed]
    assert store.fields() == {"year": "string"}
    assert update("t", 5) == ["field 'year': its type was string, and is integer now"]
    assert update("t", "x", complete=False) == [mixed]
    assert update("t", None) == ["field 'year': its type was string, and is integer now"]
    update("s", None, None)
    assert store.fields() == {}


def test_a_killed_change_of_type_is_done_anew(tmp_path: Path) -> None:
    store = LanceStore(tmp_path / "db", D)
    store.upsert([row("a", n=1, m=2)])
    table: Any = lancedb.connect(str(tmp_path / "db")).open_table("items")
    table.add_columns({"n$new": "CAST(NULL AS string)", "m$new": "CAST(m AS double)"})
    table.drop_columns(["m"])
    store = LanceStore(tmp_path / "db", D)
    assert store.fields() == {"n": "integer"}
    store.upsert([row("b", n="x")])
    assert store.fields() == {"n": "string", "m": "number"}
    assert values(store, "m") == {"a": 2.0, "b": None}
    assert values(store, "n") == {"a": "1", "b": "x"}


def test_a_table_of_the_version_before(tmp_path: Path) -> None:
    """All of CSV were strings, every number a double; names were cleaned, an own name had a ``_`` behind it."""
    fields = {"year": pa.string(), "size": pa.float64(), "good": pa.bool_(), "a_b": pa.string(), "id_": pa.string()}
    own = {**dict.fromkeys(TEXTS, pa.string()), "thumbnail": pa.binary(), "vector": pa.list_(pa.float32(), D)}
    schema = pa.schema([pa.field(name, kind) for name, kind in {**own, **fields}.items()])
    made: list[dict[str, Any]] = [
        {**dict.fromkeys(TEXTS, ""), "id": row_id("s", key), "source": "s", "key": key, "vector": [1.0, 0, 0, 0]}
        | {"year": year, "size": size, "good": None, "a_b": "x", "id_": key, "thumbnail": b""}
        for key, year, size in (("a", "1999", 1.0), ("b", "2001", 2.0), ("c", "", None))
    ]
    lancedb.connect(str(tmp_path / "db")).create_table("items", pa.Table.from_pylist(made, schema))
    store = LanceStore(tmp_path / "db", D)
    assert store.fields() == {"year": "string", "size": "number", "good": "boolean", "a_b": "string", "id_": "string"}
    assert found(store, "year = 1999 and size = 1 and a_b = x") == "a"
    assert found(store, "size >= 2") == "b"
    assert len(store.nearest(np.array([1, 0, 0, 0], np.float32), limit=5)) == 3
    index = Index(tmp_path, INFO, store)
    new = Schema(index, read_sources(index)["s"])
    rows = [named(key, {"year": n, "size": n, "a b": "x", "id": key}) for n, key in enumerate("abc", 1999)]
    for each in rows:
        new.see(each.fields)
    store.upsert(rows)
    new.settle(complete=True)
    assert store.fields() == {"year": "integer", "size": "integer", "a b": "string", "id": "string"}
    assert found(store, "year >= 2000 and size < 2001 and id = b") == "b"
    assert store.count() == 3


def test_a_value_that_no_item_has(store: VectorStore) -> None:
    store.upsert([row(key, artist=artist, n=1) for key, artist in zip("abc", ["noto", "Twemoji", None], strict=True)])
    expected = {
        "artist = notto": ['artist has no "notto"; near: noto'],
        "not artist = notto": [],
        "artist in (twemoij, noto) and (n = 2 or artist = qqq)": [
            'artist has no "twemoij"; near: Twemoji',
            'artist has no "qqq"',
        ],
        "artist = noto and n = 2": [],
        "source = t": ['source has no "t"'],
    }
    assert {text: suggest(store, parse_filter(text)) for text in expected} == expected


def test_random_filters_find_what_python_does(store: VectorStore) -> None:
    rng = random.Random(0)
    days = ["2024-01-05", "2024-02-01T12:30:00", "2023-12-31", None]
    rows = [
        row(f"{n:02}", n=rng.choice([1, 2, 3, None]), x=rng.choice([0.5, 2.0, None]), s=rng.choice(["a", "ab", None]))
        for n in range(30)
    ]
    rows = [
        row(each.key, **each.fields, d=day if day is None else Date(day)) for each in rows for day in [rng.choice(days)]
    ]
    store.upsert(rows)

    def leaf() -> tuple[str, Any]:
        name = rng.choice("nxsd")
        word = {"n": "1 2 2.5 3", "x": "0.5 1 2", "s": "a ab b", "d": "2024 2024-01 2024-02-01 2023-12-31"}[name]
        value = rng.choice(word.split())
        if rng.random() < 0.15:
            return f"{name} is null", lambda f: f[name] is None
        if name == "s":
            op = rng.choice(["=", "!=", "starts"])
            return f"s {op} {value}", {
                "=": lambda f: f["s"] == value,
                "!=": lambda f: f["s"] != value,
                "starts": lambda f: f["s"] is not None and f["s"].startswith(value),
            }[op]
        op = rng.choice(["=", "!=", "<", ">="])
        if name == "d":
            low = {"2024": "2024-01-01", "2024-01": "2024-01-01"}.get(value, value)
            high = {"2024": "2025-01-01", "2024-01": "2024-02-01", "2024-02-01": "2024-02-02"}.get(value, "2024-01-01")
            start, end = datetime.fromisoformat(low), datetime.fromisoformat(high)
        else:
            start = end = float(value)  # type: ignore[assignment]

        def passes(f: dict[str, Any]) -> bool:
            if f[name] is None:
                return op == "!="
            found = datetime.fromisoformat(f[name]) if name == "d" else f[name]
            inside = found == start or start <= found < end
            return bool({"=": inside, "!=": not inside, "<": found < start, ">=": found >= start}[op])

        return f"{name} {op} {value}", passes

    def tree(depth: int) -> tuple[str, Any]:
        if depth == 0 or rng.random() < 0.2:
            return leaf()
        if rng.random() < 0.3:
            text, inner = tree(depth - 1)
            return f"not ({text})", lambda f: not inner(f)
        word = rng.choice(["and", "or"])
        (one, left), (two, right) = tree(depth - 1), tree(depth - 1)
        both = (lambda f: left(f) and right(f)) if word == "and" else (lambda f: left(f) or right(f))
        return f"({one}) {word} ({two})", both

    for _ in range(60):
        text, passes = tree(3)
        expected = [each.key for each in rows if passes(each.fields)]
        assert [each.key for each in listed(store, conditions=parse_filter(text))] == expected, text
        assert store.count(parse_filter(text)) == len(expected)
