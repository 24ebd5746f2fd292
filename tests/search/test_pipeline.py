"""The stages of a search: fusion beside its formula, reranking, diversity, and what an index measures by itself."""

import dataclasses
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.encode.forward import Refused
from llave.encode.item import Item
from llave.errors import UserError
from llave.search.diversify import mmr_order
from llave.search.filters import parse_filter
from llave.search.fusion import attainable, share
from llave.search.index import Index
from llave.search.info import BY_USER, index_info, read_info
from llave.search.own_queries import SLICES, UNHEARD, choose_pipeline, misspell, own_queries
from llave.search.pipeline import Pipeline, retrieve
from tests.search.things import build

COLOURS = ("red", "green", "blue", "black")
THINGS = ("umbrella", "square", "bicycle", "kettle", "lantern", "violin", "hammer", "teapot", "saddle", "compass")
WORDS = ("gravel", "marsh", "velvet", "copper", "willow", "ember", "frost", "harbor", "meadow", "pepper", "quartz")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, nano_untouched: SentenceTransformer) -> Index:
    """Sixty texts of four words, of which the first is one of few."""
    place = tmp_path_factory.mktemp("pipeline")
    rng = random.Random(0)
    lines = ["id,text,group"]
    for number in range(60):
        names = [rng.choice(COLOURS), rng.choice(THINGS), *rng.sample(WORDS, 2)]
        lines.append(f"{number},{' '.join(names)},{names[0]}")
    (place / "table.csv").write_text("\n".join(lines) + "\n")
    made = Index.create(place / "index", index_info(nano_untouched, "nano"))
    build(made, nano_untouched, place / "table.csv", make_map=False)
    made.use_model(nano_untouched)
    return made


def test_hybrid_scores_are_the_formula(index: Index) -> None:
    text = "red umbrella velvet zebra"
    query_D = np.asarray(index.search(text, mode="vector", limit=1) and index.use_model().encode([text])[0], np.float32)
    cosines = {hit.id: hit.score for hit in index.search(query_D, limit=60, exact=True)}
    matches = {hit.id: hit.score for hit in index.search(text, mode="words", limit=60)}
    missing = 2 * math.log(61)
    best = sum(index.search(word, mode="words", limit=1)[0].score for word in ("red", "umbrella", "velvet")) + missing
    assert attainable(index.store, text) == pytest.approx(best)
    whole = index.search("red umbrella", mode="words", limit=1)[0]
    assert {"red", "umbrella"} <= set(whole.text.split())
    assert attainable(index.store, "umbrella red") == pytest.approx(whole.score)
    wanted = {each: cosine + 0.7 * (matches.get(each, 0.0) / best) ** 1.5 for each, cosine in cosines.items()}
    found = retrieve(index.store, "hybrid", query_D, text, 60, weight=0.7)
    assert len(found) == 60
    assert [each.score for each in found] == pytest.approx(sorted(wanted.values(), reverse=True), abs=1e-5)
    for each in found:
        assert each.score == pytest.approx(wanted[each.row.id], abs=1e-5)
        assert each.scores["vector"] == pytest.approx(cosines[each.row.id], abs=1e-5)
        assert each.scores["words"] == pytest.approx(matches.get(each.row.id, 0.0), abs=1e-4)


def test_candidates_of_either_part_have_both_scores(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools of three: most candidates are in one of them alone."""
    monkeypatch.setattr("llave.search.pipeline.POOL", 3)
    query_D = np.asarray(index.use_model().encode(["green kettle"])[0], np.float32)
    whole = {hit.id: hit.score for hit in index.search("red umbrella", mode="words", limit=60)}
    found = retrieve(index.store, "hybrid", query_D, "red umbrella", 3, weight=1.0)
    assert 3 < len(found) <= 6
    for each in found:
        assert each.scores["words"] == pytest.approx(whole.get(each.row.id, 0.0), abs=1e-4)


def test_the_power_and_the_bounds() -> None:
    assert [share(match, 10.0) for match in (0.0, 10.0, 12.0)] == [0.0, 1.0, 1.0]
    assert share(5.0, 10.0) == pytest.approx(0.5**1.5)


def test_modes_and_what_each_hit_says(index: Index) -> None:
    hits = index.search("blue kettle", mode="hybrid", limit=5)
    assert set(hits.times) == {"embed", "hybrid"}
    assert [hit.ranks["hybrid"] for hit in hits] == [1, 2, 3, 4, 5]
    assert {"vector", "words"} <= set(hits[0].scores)
    assert index.search("blue kettle", mode="vector")[0].score == pytest.approx(
        index.search("blue kettle", mode="vector")[0].scores["vector"]
    )
    green = index.search("kettle", mode="hybrid", filter="group = green", limit=60)
    assert {hit.fields["group"] for hit in green} == {"green"}
    again = index.search("blue kettle", mode="hybrid", limit=2, offset=3)
    assert [hit.id for hit in again] == [hit.id for hit in hits[3:5]]
    without = index.search("blue kettle", mode="hybrid", limit=4, exclude=[hits[0].id])
    assert [hit.id for hit in without] == [hit.id for hit in hits[1:5]]
    with pytest.raises(UserError, match="mode 'fuzzy': one of vector, words, hybrid"):
        index.search("x", mode="fuzzy")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no field 'nothing'"):
        index.search("x", mode="hybrid", filter="nothing = 1")


def by_length(query: Item, documents: Sequence[Item]) -> list[float | Refused]:
    """Prefers short texts, and refuses those of violins."""
    return [Refused("file", "no violins") if "violin" in each.text else -float(len(each.text)) for each in documents]


def test_reranking(index: Index) -> None:
    first = index.search("violin", mode="words", limit=60)
    assert first
    plain = index.search("violin kettle", mode="hybrid", limit=60)
    hits = index.search("violin kettle", mode="hybrid", rerank=by_length, top=20, limit=60)
    best = plain[:20]
    said = {hit.id: hit.score - hit.scores["vector"] for hit in best}
    taken = sorted(
        (hit for hit in best if "violin" not in hit.text), key=lambda hit: len(hit.text) - said[hit.id]
    )  # what the words add stays
    refused = [hit for hit in best if "violin" in hit.text]
    assert refused
    assert [hit.id for hit in hits] == [hit.id for hit in (*taken, *refused, *plain[20:])]
    assert hits[0].scores["rerank"] == -len(hits[0].text)
    assert hits[0].score == pytest.approx(-len(hits[0].text) + said[hits[0].id])
    alone = index.search("violin kettle", mode="vector", rerank=by_length, top=60)[0]
    assert alone.score == alone.scores["rerank"]
    assert hits[0].ranks["rerank"] == 1
    assert hits[0].ranks["hybrid"] == [hit.id for hit in plain].index(hits[0].id) + 1
    assert "rerank" in hits.times
    page = index.search("violin kettle", mode="hybrid", rerank=by_length, top=20, limit=5, offset=5)
    assert [hit.id for hit in page] == [hit.id for hit in hits[5:10]]


def test_one_of_each_group(index: Index) -> None:
    hits = index.search("kettle", mode="hybrid", one_per="group", limit=10)
    groups = [hit.fields["group"] for hit in hits]
    assert sorted(groups) == sorted(set(groups)) == sorted(COLOURS)
    assert hits[0].id == index.search("kettle", mode="hybrid", limit=1)[0].id
    with pytest.raises(UserError, match="one_per: no 'shape'; there are: document, group"):
        index.search("kettle", one_per="shape")


def test_twins_and_documents(
    tmp_path: Path, nano_untouched: SentenceTransformer, picture: Callable[[int], Image.Image]
) -> None:
    folder = tmp_path / "things"
    folder.mkdir()
    for name, number in (("a", 1), ("b", 1), ("c", 2)):
        picture(number).save(folder / f"{name}.png")
    pages = [picture(3), picture(4)]
    pages[0].save(folder / "two.pdf", save_all=True, append_images=pages[1:])
    index = Index.create(tmp_path / "index", index_info(nano_untouched, "nano"))
    build(index, nano_untouched, folder)
    found = [hit.path for hit in index.search(image=folder / "a.png", one_per="twins")]
    assert found[0] in ("a.png", "b.png")
    assert len({"a.png", "b.png"} & set(found)) == 1
    paths = [hit.path for hit in index.search(image=folder / "a.png", one_per="document")]
    assert sum(path.startswith("two.pdf") for path in paths) == 1
    assert {"a.png", "b.png"} <= set(paths)


def test_mmr_is_greedy() -> None:
    """Beside its definition, place by place."""
    rng = np.random.default_rng(0)
    vector_ND = rng.normal(size=(12, 3)).astype(np.float32)
    vector_ND /= np.linalg.norm(vector_ND, axis=1, keepdims=True)
    score_N = np.sort(rng.random(12).astype(np.float32))[::-1].copy()
    relevance_N = (score_N - score_N.min()) / (score_N.max() - score_N.min())
    wanted: list[int] = []
    while len(wanted) < 6:
        left = [place for place in range(12) if place not in wanted]
        gains = [
            0.6 * relevance_N[place]
            - (0.4 * max(float(vector_ND[place] @ vector_ND[other]) for other in wanted) if wanted else 0)
            for place in left
        ]
        wanted.append(left[int(np.argmax(gains))])
    order = mmr_order(vector_ND, score_N, 0.4, 6)
    assert order[:6] == wanted
    assert sorted(order) == list(range(12))
    assert mmr_order(vector_ND, score_N, 0.0, 12) == list(range(12))


def test_queries_of_its_own_items(index: Index) -> None:
    queries = own_queries(index, count=40, seed=0)
    assert {query.slice for query in queries} == set(SLICES)
    assert queries == own_queries(index, count=40, seed=0)
    assert queries != own_queries(index, count=40, seed=1)
    texts = set(index.store.column(["text"])["text"])
    for query in queries:
        assert query.source == "text"  # groups are shared by many
        assert query.named in texts
        if query.slice == "whole":
            assert query.text == query.words == query.named
        if query.slice in ("shortened", "dropped"):
            assert query.text == query.words
            assert set(query.text.split()) < set(query.named.split())
        if query.slice == "reworded":
            assert query.text == query.named
            kept = [word for word in query.words.split() if word != UNHEARD]
            assert set(kept) < set(query.named.split())
            assert len(query.words.split()) == len(query.named.split())


def test_misspelling_changes_a_letter() -> None:
    rng = random.Random(0)
    for text in ("umbrella", "red umbrella", "one two three four five"):
        wrong = [misspell(text, rng) for _ in range(20)]
        assert all(len(each.split()) == len(text.split()) for each in wrong)
        assert sum(each != text for each in wrong) > 15  # a letter may be replaced by itself
    assert misspell("a cat", rng) == "a cat"


def test_an_index_weighs_its_words(index: Index, nano_untouched: SentenceTransformer) -> None:
    """The untrained model does not read four words as well as BM25 does."""
    found = choose_pipeline(index, nano_untouched, count=40)
    assert found is not None
    pipeline, qualities = found
    assert index.info.pipeline.weight == pipeline.weight  # measured at the end of `llave index`, with the same seed
    assert pipeline.mode == "hybrid"
    mrr = {(each.slice, each.mode): each.mrr for each in qualities}
    for name in SLICES:
        assert mrr[name, "hybrid"] >= max(mrr[name, "vector"], mrr[name, "words"]) - 0.1
    assert read_info(index.path).weighed_at == 60


def test_what_the_user_says_stays(tmp_path: Path, nano_untouched: SentenceTransformer) -> None:
    (tmp_path / "table.csv").write_text("id,text\n" + "".join(f"{n},thing number {n}\n" for n in range(60)))
    index = Index.create(tmp_path / "index", index_info(nano_untouched, "nano"))
    index.info = dataclasses.replace(index.info, pipeline=Pipeline(mode="vector", one_per="twins"), weighed_at=BY_USER)
    index.save()
    build(index, nano_untouched, tmp_path / "table.csv", make_map=False)
    assert read_info(index.path).pipeline == Pipeline(mode="vector", one_per="twins")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"weight": -1.0}, "from 0 on"),
        ({"top": 0}, "from 1 to"),
        ({"mmr": 1.5}, "from 0 to 1"),
        ({"mode": "x"}, "one of"),
    ],
)
def test_what_a_pipeline_cannot_be(said: dict[str, float], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        Pipeline(**said)  # type: ignore[arg-type]


def test_few_items_are_not_weighed(tmp_path: Path, nano_untouched: SentenceTransformer) -> None:
    (tmp_path / "table.csv").write_text("id,text\n1,one thing\n2,another thing\n")
    index = Index.create(tmp_path / "index", index_info(nano_untouched, "nano"))
    build(index, nano_untouched, tmp_path / "table.csv")
    assert index.info.pipeline == Pipeline()
    assert parse_filter("") is not None
    index.use_model(nano_untouched)
    assert index.search("one thing")[0].score <= 1.0 + 1e-6  # a cosine
