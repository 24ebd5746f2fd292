"""Search by words: what is read, both stores beside plain BM25's properties, and words that follow an index's items."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from llave.errors import UserError
from llave.search.filters import parse_filter
from llave.search.index import Index
from llave.search.info import index_info, read_info
from llave.search.lance import LanceStore
from llave.search.lance_words import WORD_COLUMNS
from llave.search.store import Row, VectorStore, row_id
from llave.search.words import Words, words_of
from tests.search.things import STORES, build, opened_store
from tests.written_pdf import written_pdf

D = 4
TEXTS = {
    "a": "a red umbrella in the rain",
    "b": "two dogs under a blue umbrella",
    "c": "the red square",
    "d": "Straße im Regen, 猫が好き",
    "e": "a dog",
}


def row(key: str, text: str, words: str | None = None, **fields: str) -> Row:
    vector_D = np.eye(D, dtype=np.float32)[len(key) % D]
    return Row(
        id=row_id("s", key), source="s", key=key, kind="text", text=text, path=f"{key}.txt", file="", stamp="",
        content=key, digest="", words=text if words is None else words, fields=fields, vector_D=vector_D,
    )  # fmt: skip


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    with opened_store(request.param, tmp_path, D) as opened:
        opened.upsert([row(key, text, colour="red" if "red" in text else "other") for key, text in TEXTS.items()])
        opened.keep_words(Words())
        yield opened


def keys(found: list[tuple[Row, float]]) -> list[str]:
    return [row.key for row, _ in found]


def test_rare_words_count_more_and_short_texts_too(store: VectorStore) -> None:
    assert keys(store.match("umbrella", limit=9)) == ["a", "b"]  # equally long
    assert keys(store.match("red", limit=9)) == ["c", "a"]
    assert keys(store.match("blue umbrella", limit=9)) == ["b", "a"]
    found = store.match("red umbrella rain", limit=9)
    assert keys(found)[0] == "a"
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0
    assert keys(store.match("red umbrella", limit=1)) == ["a"]
    assert store.match("zebra", limit=9) == []
    assert store.match(" !? ", limit=9) == []


def test_every_word(store: VectorStore) -> None:
    whole = {row.key: score for row, score in store.match("red umbrella", limit=9)}
    (found,) = store.match("red umbrella", limit=9, every=True)
    assert (found[0].key, found[1]) == ("a", pytest.approx(whole["a"]))
    assert store.match("red umbrella zebra", limit=9, every=True) == []
    assert store.match("!?", limit=9, every=True) == []


def test_best_scores_are_those_of_the_first_match_while_rows_come_and_go(store: VectorStore) -> None:
    def agree() -> None:
        words, texts = ["umbrella", "zebra", "tree", "red"], ["red umbrella", "green tree", "red zebra"]
        for asked, every in ((words, False), (texts, True)):
            first = [[score for _, score in store.match(text, limit=1, every=every)] for text in asked]
            assert store.best(asked, every=every) == pytest.approx([sum(scores) for scores in first])

    agree()
    assert store.best(["tree"]) == [0.0]
    store.upsert([row("f", "a green tree", colour="other")])
    assert store.best(["tree"])[0] > 0
    agree()
    store.delete([row_id("s", "f")])
    agree()
    assert store.best(["tree"]) == [0.0]


def test_letters_of_any_script(store: VectorStore) -> None:
    assert keys(store.match("STRASSE straße", limit=9)) == ["d"]
    assert keys(store.match("Regen", limit=9))[0] == "d"


def test_a_filter_and_ids_leave_scores_as_they_are(store: VectorStore) -> None:
    whole = {row.key: score for row, score in store.match("red umbrella", limit=9)}
    red = store.match("red umbrella", limit=9, conditions=parse_filter("colour = red"))
    assert keys(red) == ["a", "c"]
    few = store.match("red umbrella", limit=9, ids=[row_id("s", "c"), row_id("s", "e"), "no id"])
    assert keys(few) == ["c"]
    for row, score in (*red, *few):
        assert score == pytest.approx(whole[row.key])


def test_words_of_rows_that_change_and_go(store: VectorStore) -> None:
    store.upsert([row("c", "a green tree", colour="other"), row("f", "another tree", colour="other")])
    assert sorted(keys(store.match("tree", limit=9))) == ["c", "f"]
    assert keys(store.match("square", limit=9)) == []
    store.delete([row_id("s", "f")])
    assert keys(store.match("tree", limit=9)) == ["c"]


def test_other_sources_of_words(store: VectorStore) -> None:
    store.forget_words()
    store.keep_words(Words(("colour",)))
    assert keys(store.match("red", limit=9)) == ["a", "c"]
    assert store.match("umbrella", limit=9) == []
    assert store.has_words()


def test_misspelt_words_and_endings(tmp_path: Path) -> None:
    with opened_store("lance", tmp_path, D) as store:
        store.upsert([row(key, text) for key, text in TEXTS.items()])
        store.keep_words(Words())
        assert keys(store.match("umbrela", limit=9)) == ["a", "b"]
        assert keys(store.match("umrbella", limit=9)) == ["a", "b"]
        assert set(keys(store.match("dog", limit=9))) == {"b", "e"}  # dogs
        assert keys(store.match("猫", limit=9)) == ["d"]
        right, wrong = (store.match(word, limit=1)[0][1] for word in ("umbrella", "umbrela"))
        assert wrong < right
        assert store.best(["umbrella", "umbrela", "dogg"])[:2] == [right, wrong]


def test_an_index_of_before_gets_its_words(tmp_path: Path) -> None:
    store = LanceStore(tmp_path / "db", D)
    store._table.drop_columns(list(WORD_COLUMNS))
    store.upsert([row("a", "a red umbrella")])
    with pytest.raises(UserError, match="has no words yet; run the same `llave index` again"):
        store.match("red", limit=1)
    assert not store.has_words()
    assert keys(store.nearest(np.eye(D, dtype=np.float32)[1], limit=1)) == ["a"]
    store.keep_words(Words())
    assert keys(store.match("red", limit=1)) == ["a"]
    store.upsert([row("b", "a blue umbrella")])
    assert store.get([row_id("s", "b")])[row_id("s", "b")].fields == {}


def test_what_is_read() -> None:
    fields = {"title": "The Title", "year": 1999, "none": None, "twin": "a text"}
    everything = words_of("a text", "holidays/redUmbrella_2.jpg", fields, Words())
    assert everything == "a text\nholidays red Umbrella 2\nThe Title"
    assert words_of("a text", "x.jpg", fields, Words(("year", "title"))) == "1999\nThe Title"
    assert words_of("a text", "x.jpg", fields, Words(())) == ""
    assert Words.parse("text, title") == Words(("text", "title"))
    assert Words.parse("none", "German") == Words((), "German")
    with pytest.raises(UserError, match="no language 'Klingon'; there are: none, Arabic"):
        Words.parse("all", "Klingon")


@pytest.fixture
def index(tmp_path: Path, nano_untouched: SentenceTransformer) -> Index:
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / f"{name}.txt").write_text(text)
    made = Index.create(tmp_path / "index", index_info(nano_untouched, "nano"))
    build(made, nano_untouched, folder)
    made.use_model(nano_untouched)
    return made


def test_words_follow_the_items_of_an_index(index: Index, nano_untouched: SentenceTransformer, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    assert [hit.path for hit in index.search("umbrella", mode="words", limit=2)] == ["a.txt", "b.txt"]
    (folder / "a.txt").write_text("a parasol")
    (folder / "b.txt").unlink()
    build(index, nano_untouched, folder)
    assert [hit.path for hit in index.search("umbrella parasol", mode="words")] == ["a.txt"]
    build(index, nano_untouched, folder, words=Words(("path",)))
    assert index.search("parasol", mode="words") == []
    assert [hit.path for hit in index.search("c", mode="words")] == ["c.txt"]
    assert read_info(index.path).words == Words(("path",))
    build(index, nano_untouched, folder)  # what was said stays
    assert read_info(index.path).words == Words(("path",))
    build(index, nano_untouched, folder, words=Words(()))
    with pytest.raises(UserError, match=r"mode words: .* keeps no words; index again with --words all"):
        index.search("c", mode="words")


def test_words_of_pages(tmp_path: Path, nano_untouched: SentenceTransformer) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    written_pdf(folder / "letters.pdf", "a letter to the tax office", "the invoice of May")
    made = Index.create(tmp_path / "index", index_info(nano_untouched, "nano"))
    report = build(made, nano_untouched, folder)
    assert (report.added, report.notes) == (2, [])
    (hit,) = made.search("invoice", mode="words")
    assert (hit.path, hit.kind, hit.text) == ("letters.pdf#page=2", "page", "the invoice of May")
    row = made.store.get([hit.id])[hit.id]
    item = made.item(row)
    assert (item.text, item.image) == ("", folder / "letters.pdf#page=2")


def test_words_need_no_model(index: Index) -> None:
    alone = Index.open(index.path)
    alone.info = dataclasses.replace(alone.info, model="/nowhere")
    assert alone.search("red square", mode="words")[0].path == "c.txt"
    with pytest.raises(UserError, match="/nowhere"):
        alone.search("red square", mode="hybrid")
    for query in (np.ones(384, np.float32), ""):
        with pytest.raises(UserError, match="mode words: there is no text to compare"):
            alone.search(query, mode="words")
