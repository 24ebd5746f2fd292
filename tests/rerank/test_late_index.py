"""Tokens kept beside an index: exact and approximate search, incremental, killed and gone on with, by the command."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llave import Item, build_index
from llave.cli.main import main
from llave.cli.serve import ServeConfig, with_defaults
from llave.encode.late import LateEncoder, maxsim_scores
from llave.errors import UserError
from llave.models.late import LateModel, late_from
from llave.models.model import EmbeddingModel
from llave.models.open import save_model
from llave.rerank import late_index
from llave.rerank.late import LateStage
from llave.rerank.late_index import index_late, open_late_store
from llave.rerank.late_store import LateInfo, LateRow, LateStore
from llave.rerank.reranker import Reranker
from llave.search.index import Index
from llave.search.options import BuildOptions
from llave.search.pipeline import Pipeline
from tests.shapes import COLOURS, SHAPES, draw

OPTIONS = BuildOptions(make_map=False, progress=False)


@pytest.fixture(scope="module")
def models(nano_untouched: EmbeddingModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LateModel]:
    """A directory of an embedding model, and a late one."""
    torch.manual_seed(0)
    save_model(nano_untouched, directory := tmp_path_factory.mktemp("embed"))
    return directory, late_from(nano_untouched, 16)


@pytest.fixture
def index(models: tuple[Path, LateModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """Of 16 pictures and a text."""
    monkeypatch.setenv("LLAVE_HOME", str(tmp_path / "state"))
    (tmp_path / "photos").mkdir()
    for colour in COLOURS:
        for shape in SHAPES:
            draw(colour, shape).save(tmp_path / "photos" / f"{colour}_{shape}.png")
    (tmp_path / "photos" / "crab.txt").write_text("a crab on the beach")
    return build_index(tmp_path / "index", str(models[0]), tmp_path / "photos", options=OPTIONS)[0]


def late(index: Index, model: LateModel, **options: Any) -> late_index.LateReport:
    return index_late(index, model, progress=False, **options)


def test_nearest_is_maxsim_over_all_items(index: Index, models: tuple[Path, LateModel]) -> None:
    _, model = models
    report = late(index, model)
    assert (report.items, report.wanted, report.embedded, report.gone, report.errors) == (17, 17, 17, 0, {})
    assert report.bytes == report.tokens * 16 * 2
    store = open_late_store(index)
    assert store is not None
    (query,) = LateEncoder(model, "query")([Item("a red circle")])
    ids = list(store.known())
    tokens = store.get(ids)
    scores = maxsim_scores(query, [tokens[name] for name in ids])  # type: ignore[arg-type]
    expected = sorted(zip(ids, scores.tolist(), strict=True), key=lambda pair: -pair[1])[:5]
    found = store.nearest(query, 5)  # type: ignore[arg-type]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=1e-3)
    by_id = dict(zip(ids, scores.tolist(), strict=True))
    assert all(by_id[name] == pytest.approx(score, abs=1e-3) for name, score in found)
    row = index.store.get([found[0][0]])[found[0][0]]
    fresh = LateEncoder(model, "document")([Item(image=Path(row.source) / row.file)])
    np.testing.assert_allclose(tokens[row.id], fresh[0], atol=1e-3)  # type: ignore[arg-type]


def test_only_what_has_changed_is_encoded(index: Index, models: tuple[Path, LateModel]) -> None:
    embed, model = models
    late(index, model)
    assert late(index, model).embedded == 0
    folder = index.path.parent / "photos"
    draw("red", "bar").save(folder / "red_circle.png")
    draw("blue", "circle").rotate(30).save(folder / "new.png")
    (folder / "crab.txt").unlink()
    report = late(index, model)  # the index is as it was
    assert (report.embedded, report.removed, report.gone) == (0, 0, 0)
    index, _ = build_index(index.path, str(embed), folder, options=OPTIONS)
    report = late(index, model)
    assert (report.embedded, report.removed, report.items) == (2, 1, 17)
    draw("blue", "square").save(folder / "red_circle.png")
    build_index(index.path, str(embed), folder, options=OPTIONS)
    draw("green", "bar").save(folder / "red_circle.png")  # once more, behind the index's back
    report = late(Index.open(index.path), model)
    assert (report.embedded, report.gone, report.items) == (0, 1, 16)  # no tokens of what was there before


def test_killed_and_gone_on_with(index: Index, models: tuple[Path, LateModel], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_index, "CHUNK", 5)
    upsert, calls = LateStore.upsert, 0

    def killed(store: LateStore, rows: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        upsert(store, rows)

    with monkeypatch.context() as patch:
        patch.setattr(LateStore, "upsert", killed)
        with pytest.raises(KeyboardInterrupt):
            late(index, models[1])
    report = late(index, models[1])
    assert (report.embedded, report.items) == (7, 17)


def test_pages_of_a_document_have_tokens(index: Index, models: tuple[Path, LateModel]) -> None:
    first, second = (draw(colour, "bar") for colour in ("red", "blue"))
    first.save(index.path.parent / "photos" / "report.pdf", save_all=True, append_images=[second], resolution=72)
    index, _ = build_index(index.path, str(models[0]), index.path.parent / "photos", options=OPTIONS)
    assert late(index, models[1]).items == 19
    pages = [name for name, kind in zip(*index.store.column(["id", "kind"]).values(), strict=True) if kind == "page"]
    store = open_late_store(index)
    assert store is not None
    assert len(store.get(pages)) == 2


def test_another_factor_begins_anew(index: Index, models: tuple[Path, LateModel]) -> None:
    whole = late(index, models[1])
    half = late(index, models[1], factor=2)
    assert half.embedded == 17
    assert half.replaced
    assert half.bytes < 0.6 * whole.bytes


def test_sources_that_were_not_named_are_not_read(
    index: Index, models: tuple[Path, LateModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAVE_HOME", str(tmp_path / "another user"))
    with pytest.raises(UserError, match="you have not indexed it"):
        late(index, models[1])
    assert late(index, models[1], allow_sources=[tmp_path]).items == 17


def test_the_command(
    index: Index, models: tuple[Path, LateModel], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(models[1], tmp_path / "late")
    (tmp_path / "photos" / "red_bar.png").write_bytes(b"no picture any more")
    words = ["index", "late", str(tmp_path / "late"), "--index", str(index.path)]
    assert main([*words, "--token_pooling", "2"]) == 0
    said = capsys.readouterr()
    assert "tokens of 16 of 17 items, 16 encoded, 0 removed" in said.out
    assert "bytes each" in said.out
    assert "1 items are not there as they were indexed" in said.err
    assert main([*words, "--token_pooling", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["embedded"] == 0


def test_a_search_with_it_as_second_stage(
    index: Index, models: tuple[Path, LateModel], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(models[1], tmp_path / "late")
    words = ["search", "a red circle", "--index", str(index.path), "--rerank", str(tmp_path / "late"), "--json"]
    assert main([*words, "--mode", "vector", "--top", "5", "--limit", "5"]) == 0
    hits = json.loads(capsys.readouterr().out)
    scores = [hit["scores"]["rerank"] for hit in hits]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    best = index.store.get([hits[0]["id"]])[hits[0]["id"]]
    item = Item(best.text, image=Path(best.source) / best.file) if best.kind == "image" else Item(best.text)
    assert LateStage(models[1])(Item("a red circle"), [item]) == [pytest.approx(scores[0], abs=1e-4)]


def test_the_approximate_index_finds_the_best(tmp_path: Path) -> None:
    """3,000 documents around 50 topics; of the ten best, nearly all."""
    generator = np.random.default_rng(0)

    def unit(value: Any) -> Any:
        return (value / np.linalg.norm(value, axis=-1, keepdims=True)).astype(np.float32)

    topics = unit(generator.normal(size=(50, 32)))
    documents = [
        unit(topics[generator.integers(0, 50)] + 0.4 * generator.normal(size=(generator.integers(3, 9), 32)))
        for _ in range(3000)
    ]
    store = LateStore(tmp_path, tmp_path / "lance", LateInfo(model="m", fingerprint="f", dimensions=32, factor=1))
    store.upsert([LateRow(str(number), "", tokens) for number, tokens in enumerate(documents)])
    store.optimize(exact_below=1000)
    found, wanted = 0, 0
    for number in range(0, 3000, 300):
        query = unit(documents[number] + 0.2 * generator.normal(size=documents[number].shape))
        best = {name for name, _ in store.nearest(query, 10, exact=True)}
        scores = maxsim_scores(query, documents)
        assert best == {str(place) for place in np.argsort(-scores)[:10]}
        found += len(best & {name for name, _ in store.nearest(query, 10)})
        wanted += 10
    assert found >= 0.95 * wanted


def test_a_server_says_that_it_does_not_run_it(
    models: tuple[Path, LateModel], index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late = tmp_path / "late"
    save_model(models[1], late)
    with pytest.raises(UserError, match="late-interaction model, which `llave search --rerank` takes"):
        Reranker.open(late)
    index.info = dataclasses.replace(index.info, pipeline=Pipeline(rerank=str(late)))
    index.save()
    assert with_defaults(ServeConfig(model="nano", index=index.path)).rerank is None
    assert "searches are not reranked" in capsys.readouterr().err
    index.info = dataclasses.replace(index.info, pipeline=Pipeline(rerank="a/reranker"))
    index.save()
    assert with_defaults(ServeConfig(model="nano", index=index.path)).rerank == "a/reranker"


def test_reading_tokens_writes_nothing(models: tuple[Path, LateModel], index: Index) -> None:
    index_late(index, models[1], progress=False)
    files = [path for path in index.path.rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    store = open_late_store(index)
    assert store is not None
    assert store.count() == 17
    assert {path: path.stat().st_mtime_ns for path in index.path.rglob("*") if path.is_file()} == before
