"""Fields that the user gives the items of an index: in both stores, filtered by, and kept as long as the content is."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.collection.types import Scalar
from llave.errors import UserError
from llave.search.filters import parse_filter
from llave.search.given import drop_field
from llave.search.index import Index
from llave.search.info import index_info, read_info
from llave.search.options import BuildOptions
from llave.search.store import Row, VectorStore, row_id
from llave.search.upgrade import upgrade_index
from tests.search.things import build, opened_store, rows

D = 4


@pytest.fixture(params=["lance", "qdrant", "qdrant server", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    with opened_store(request.param, tmp_path, D) as opened:
        yield opened


def row(key: str, **fields: Scalar) -> Row:
    own = dict.fromkeys(("kind", "text", "path", "file", "stamp", "content", "digest"), "")
    vector_D = np.eye(D, dtype=np.float32)["abcd".index(key)]
    return Row(id=row_id("s", key), source="s", key=key, **own, fields=fields, thumbnail=b"t", vector_D=vector_D)


def test_a_store_sets_a_field_of_rows_that_are_there(store: VectorStore) -> None:
    store.upsert([row(key, size=number) for number, key in enumerate("abcd")])
    before = store.version()
    ids = {key: row_id("s", key) for key in "abcd"}
    store.set_field("label", {ids["a"]: "cats", ids["b"]: "it's dogs", "0" * 32: "nobody"})
    assert store.version() != before
    assert store.count() == 4
    assert store.fields() == {"size": "integer", "label": "string"}
    assert store.ordered(conditions=parse_filter('label = "it\'s dogs"')) == [ids["b"]]
    assert store.count(parse_filter("label is null")) == 2
    store.set_field("label", {ids["a"]: None, ids["c"]: "cats"})
    found = store.get(list(ids.values()), vectors=True, thumbnails=True)
    assert {each.key: each.fields["label"] for each in found.values() if each.fields.get("label")} == {
        "b": "it's dogs",
        "c": "cats",
    }
    assert all(each.thumbnail == b"t" for each in found.values())
    for each in found.values():
        np.testing.assert_allclose(each.vector_D, row(each.key).vector_D)
    ((nearest, score),) = store.nearest(row("c").vector_D, limit=1)  # type: ignore[arg-type]
    assert (nearest.key, round(score, 5)) == ("c", 1)


def test_a_type_that_holds_the_values(store: VectorStore) -> None:
    store.upsert([row(key) for key in "abcd"])
    ids = {key: row_id("s", key) for key in "abcd"}
    store.set_field("n", {ids["a"]: 1, ids["b"]: 2})
    assert store.fields() == {"n": "integer"}
    store.set_field("n", {ids["c"]: 0.5})
    assert store.fields() == {"n": "number"}
    assert store.count(parse_filter("n >= 1")) == 2
    store.set_field("nothing", {ids["a"]: None})
    assert "nothing" not in store.fields()


@pytest.fixture
def made(tmp_path: Path, nano_untouched: SentenceTransformer, picture: Callable[[int], Image.Image]) -> Any:
    source = tmp_path / "photos"
    source.mkdir()
    for number in range(4):
        picture(number).save(source / f"{number}.png")
    index = Index.create(tmp_path / "the.index", index_info(nano_untouched, "nano"))
    build(index, nano_untouched, source)
    return index, source


def labels(index: Index) -> dict[str, Scalar]:
    return {each.key: each.fields.get("label") for each in rows(index).values()}


def give(index: Index) -> None:
    index.set_field("label", {identity: f"is {each.key}" for identity, each in rows(index).items()})


def test_it_is_kept_as_long_as_the_content(made: Any, nano_untouched: SentenceTransformer, picture: Any) -> None:
    index, source = made
    give(index)
    assert [hit.path for hit in index.browse(filter="label = 'is 2.png'")] == ["2.png"]
    assert read_info(index.path).given == ("label",)
    (source / "0.png").rename(source / "renamed.png")
    picture(9).save(source / "1.png")
    (source / "metadata.csv").write_text("file_name,year\n2.png,2020\n")
    picture(8).save(source / "new.png")
    build(index, nano_untouched, source)
    assert labels(index) == {
        "renamed.png": "is 0.png",
        "1.png": None,
        "2.png": "is 2.png",
        "3.png": "is 3.png",
        "new.png": None,
    }
    assert index.store.fields()["label"] == "string"
    assert Index.open(index.path).count("label = 'is 2.png' and year = 2020") == 1


def test_it_is_kept_by_another_model(made: Any, other_nano: SentenceTransformer) -> None:
    index, _ = made
    give(index)
    new, _ = upgrade_index(index, other_nano, BuildOptions(progress=False))
    assert labels(new) == {f"{number}.png": f"is {number}.png" for number in range(4)}
    build(new, other_nano, made[1])
    assert labels(new)["3.png"] == "is 3.png"


def test_it_can_go(made: Any, nano_untouched: SentenceTransformer) -> None:
    index, source = made
    give(index)
    drop_field(index, "label")
    assert "label" not in index.store.fields()
    build(index, nano_untouched, source)
    with pytest.raises(UserError, match="no field 'label' that was given; those are: none"):
        drop_field(index, "label")


@pytest.mark.parametrize("name", ["path", "ID", "vector", "_x", "two words", "", "1st", "folder"])
def test_names_that_cannot_be(made: Any, name: str) -> None:
    with pytest.raises(UserError, match="field"):
        made[0].set_field(name, {})
    assert read_info(made[0].path).given == ()
