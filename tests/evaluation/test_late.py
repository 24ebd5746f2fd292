"""Late interaction in an evaluation: rows scored as numpy scores them, pooled and counted; documents; errors."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from llave import evaluate
from llave.cli.main import main
from llave.encode.item import Item
from llave.errors import UserError
from llave.models.late import LateModel, late_from
from llave.models.model import EmbeddingModel
from llave.models.open import save_model
from tests.evaluation.test_beir import arguments
from tests.shapes import make_folder


@pytest.fixture(scope="module")
def model(nano_untouched: EmbeddingModel) -> LateModel:
    torch.manual_seed(0)
    return late_from(nano_untouched, 16)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data"))


def test_rows_are_scored_by_maxsim(model: LateModel, data: Path) -> None:
    result = evaluate(model, data, progress=False)
    for task in result.tasks.values():
        for row in task.rows[:5]:
            query = model.encode_query([_input(result.items.item(row.query))], show_progress_bar=False)[0].cpu().numpy()
            for number, score in zip(row.candidates, row.scores, strict=True):
                (tokens,) = model.encode_document([_input(result.items.item(int(number)))], show_progress_bar=False)
                expected = (query @ tokens.cpu().numpy().T).max(axis=1).mean()
                assert score == pytest.approx(expected, abs=2e-3)  # kept in float16


def _input(item: Item) -> object:
    from llave.encode.item import Reading

    return item.load(Reading())


def test_blocks_do_not_matter(model: LateModel, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate(model, data, progress=False)
    monkeypatch.setattr("llave.evaluation.late.BLOCK_ROWS", 3)
    monkeypatch.setattr("llave.evaluation.late.DENSE", 0)  # one by one
    pieces = evaluate(model, data, progress=False)
    assert whole.vectors == pieces.vectors
    for name, task in whole.tasks.items():
        for one, other in zip(task.rows, pieces.tasks[name].rows, strict=True):
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
            assert one.ranks.tolist() == other.ranks.tolist()


def test_pooling_halves_the_bytes(model: LateModel, data: Path) -> None:
    whole, half = (evaluate(model, data, token_pooling=factor, progress=False).late for factor in (1, 2))
    assert whole is not None
    assert half is not None
    assert whole["bytes_per_document"] == whole["tokens_per_document"] * 16 * 2
    assert 0.4 < half["bytes_per_document"] / whole["bytes_per_document"] <= 0.5


def test_a_copied_file_that_is_a_query_elsewhere(model: LateModel, tmp_path: Path) -> None:
    """The first item of its content was encoded as a query; as a candidate its tokens are the copy's."""
    from tests.shapes import draw

    (tmp_path / "eval").mkdir()
    (tmp_path / "images").mkdir()
    for name in ("one", "copy", "again"):
        draw("red", "circle").save(tmp_path / "images" / f"{name}.png")
    draw("blue", "bar").save(tmp_path / "images" / "other.png")
    row = {
        "qry_text": "<|image_1|>\n", "qry_img_path": "one.png",
        "tgt_text": ["<|image_1|>\n"] * 3, "tgt_img_path": ["copy.png", "again.png", "other.png"],
    }  # fmt: skip
    (tmp_path / "eval" / "same.json").write_text(json.dumps([row]))
    result = evaluate(model, tmp_path, progress=False)
    (scored,) = result.tasks["same"].rows
    assert len(scored.candidates) == 2
    assert scored.correct


def test_a_broken_picture_costs_its_rows_a_candidate(model: LateModel, tmp_path: Path) -> None:
    data = make_folder(tmp_path)
    (data / "images" / "red_circle.png").write_bytes(b"no picture")
    result = evaluate(model, data, progress=False)
    assert {error.file for error in result.errors} == {str(data / "images" / "red_circle.png")}
    assert result.tasks["t2i"].skipped == 1
    assert result.tasks["t2i"].reduced == 15


def test_a_corpus_whose_documents_are_queries(model: LateModel, tmp_path: Path) -> None:
    """The form of document retrieval (BEIR, ViDoRe): every query faces the whole corpus."""
    result = evaluate(model, arguments(tmp_path), progress=False)
    (task,) = result.tasks.values()
    assert [len(row.candidates) for row in task.rows] == [3, 3, 4]
    assert task.rows[2].ranks.min() == 1  # itself
    assert result.late is not None
    assert result.late["documents"] == 4


def test_options_of_the_other_kind(model: LateModel, nano_untouched: EmbeddingModel, data: Path) -> None:
    with pytest.raises(UserError, match="one vector for an item"):
        evaluate(nano_untouched, data, token_pooling=2, progress=False)
    with pytest.raises(UserError, match="no --processes"):
        evaluate(model, data, processes=2, progress=False)


def test_the_command(model: LateModel, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(model, tmp_path / "late")
    out = tmp_path / "out"
    code = main(["eval", str(tmp_path / "late"), "--benchmark", str(data), "--token_pooling", "2", "--out", str(out)])
    assert code == 0
    said = capsys.readouterr()
    assert "bytes in float16 (token pooling 2)" in said.err
    results = json.loads((out / "results.json").read_text())
    assert results["late"]["token_pooling"] == 2
    assert results["late"]["bytes_per_document"] > 0
    assert set(results["datasets"]) == {"t2i", "naming"}
