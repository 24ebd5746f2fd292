"""The runner with the real nano model: equal to a slow loop, honest about what it cannot score."""

import json
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from llave.encode.cache import EmbeddingCache, model_fingerprint
from llave.encode.item import Item, Reading
from llave.errors import DataError
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.result import EvalResult
from llave.evaluation.runner import evaluate
from llave.report.outputs import write_results


@pytest.fixture(scope="module")
def result(nano_untouched: SentenceTransformer, benchmark_root: Path) -> EvalResult:
    return evaluate(nano_untouched, get_benchmark(benchmark_root), progress=False)


def test_equals_a_slow_loop(result: EvalResult, nano_untouched: SentenceTransformer, benchmark_root: Path) -> None:
    for task in get_benchmark(benchmark_root).tasks[:2]:
        for row, scored in zip(task.rows()[:2], result.tasks[task.name].rows[:2], strict=True):
            items = [(item.text, task.folder.image(item)) for item in (row.query, *row.candidates)]
            inputs = [Item(text, image).load(Reading()) for text, image in items]
            query, *candidates = [
                nano_untouched.encode([entry], normalize_embeddings=True, show_progress_bar=False)[0]
                for entry in inputs
            ]
            scores = np.array([float(query @ candidate) for candidate in candidates])
            np.testing.assert_allclose(scored.scores, scores, atol=2e-5)
            assert scored.correct == (scores[0] > scores[1:].max())


def test_every_item_is_encoded_once(result: EvalResult) -> None:
    # texts: 8 questions, 8 descriptions, 8 names; pictures: 8 to name, 8 with a text, 8 alone and the corrupt one
    assert len(result.items) == 49
    assert result.encoded == 48


def test_a_corrupt_picture_is_listed_and_costs_a_negative(result: EvalResult) -> None:
    assert [Path(error.file).name for error in result.errors] == ["corrupt.png"]
    assert "cannot decode" in result.errors[0].message
    alike = result.tasks["alike"]
    assert (alike.queries, alike.skipped, alike.reduced) == (8, 0, 1)
    assert len(alike.rows[7].candidates) == len(alike.rows[6].candidates) - 1  # the corrupt one was the eighth
    assert (result.tasks["texts"].skipped, result.tasks["texts"].reduced) == (0, 0)


def test_means_are_plain_means_over_data_sets(result: EvalResult) -> None:
    values = {name: task.p_at_1 for name, task in result.tasks.items()}
    groups = result.groups()
    assert groups["overall"] == pytest.approx(sum(values.values()) / 3)
    assert groups["ind"] == pytest.approx((values["texts"] + values["alike"]) / 2)
    assert groups["ood"] == groups["classification"] == values["names_ood"]


def test_does_not_depend_on_batches_or_order(
    result: EvalResult, nano_untouched: SentenceTransformer, benchmark_root: Path
) -> None:
    benchmark = get_benchmark(benchmark_root)
    turned = type(benchmark)(benchmark.name, list(reversed(benchmark.tasks)))
    other = evaluate(nano_untouched, turned, batch_size=5, progress=False)
    for name, rows in result.scores.items():
        for expected, found in zip(rows, other.scores[name], strict=True):
            np.testing.assert_allclose(found, expected, atol=2e-5)
    assert other.groups() == pytest.approx(result.groups())


def test_limit_and_ties(nano_untouched: SentenceTransformer, tmp_path: Path) -> None:
    (tmp_path / "eval").mkdir()
    row = {"qry_text": "a", "qry_img_path": "", "tgt_img_path": [""] * 3}
    equal_inputs = {**row, "tgt_text": ["b", "b\n", "a long walk by the sea"]}  # the same answer twice is one candidate
    (tmp_path / "eval" / "t.json").write_text(json.dumps([equal_inputs] * 5))
    result = evaluate(nano_untouched, get_benchmark(tmp_path), limit=2, progress=False)
    assert result.tasks["t"].queries == 2
    assert len(result.tasks["t"].rows[0].scores) == 2


def test_no_row_left_is_an_error(nano_untouched: SentenceTransformer, tmp_path: Path) -> None:
    (tmp_path / "eval").mkdir()
    row = {"qry_text": "", "qry_img_path": "gone.png", "tgt_text": ["a"], "tgt_img_path": [""]}
    (tmp_path / "eval" / "t.json").write_text(json.dumps([row]))
    with pytest.raises(DataError, match=r"none of 1 rows can be scored.*gone\.png"):
        evaluate(nano_untouched, get_benchmark(tmp_path), progress=False)


def test_cache_gives_the_same_and_survives_truncation(
    result: EvalResult, nano_untouched: SentenceTransformer, benchmark_root: Path, tmp_path: Path
) -> None:
    def run() -> EvalResult:
        return evaluate(nano_untouched, get_benchmark(benchmark_root), cache_dir=tmp_path, progress=False)

    first, second = run(), run()
    assert (first.encoded, second.encoded) == (48, 0)
    assert second.errors == first.errors == result.errors
    for name, rows in first.scores.items():
        for expected, found in zip(rows, second.scores[name], strict=True):
            np.testing.assert_array_equal(found, expected)
    shard = max(tmp_path.rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.warns(RuntimeWarning, match="damaged embedding cache"):
        third = run()
    assert third.encoded == 48  # the shards of the first run had become one
    assert third.groups() == pytest.approx(first.groups())
    assert not list(tmp_path.rglob("*.tmp"))


def test_cache_tells_models_apart(nano_untouched: SentenceTransformer, tmp_path: Path) -> None:
    import copy

    import torch

    other = copy.deepcopy(nano_untouched)
    assert model_fingerprint(other) == model_fingerprint(nano_untouched)
    before = model_fingerprint(other)
    other.encode(["one call changes how the tokenizer pads"], show_progress_bar=False)
    assert model_fingerprint(other) == before
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1e-3
    assert model_fingerprint(other) != model_fingerprint(nano_untouched)
    assert len(EmbeddingCache(tmp_path, model_fingerprint(other))) == 0


def test_written_results(result: EvalResult, tmp_path: Path) -> None:
    assert write_results(result, tmp_path) == tmp_path / "report.html"
    assert "names_ood" in (tmp_path / "report.html").read_text()
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["overall"] == pytest.approx(result.overall)
    assert (stored["datasets"]["alike"]["skipped"], stored["datasets"]["alike"]["reduced"]) == (0, 1)
    assert "0 rows were skipped, 1 scored with fewer negatives" in (tmp_path / "results.md").read_text()
    assert stored["errors"][0]["file"].endswith("corrupt.png")
    lines = (tmp_path / "predictions" / "names_ood.jsonl").read_text().splitlines()
    predictions = [json.loads(line) for line in lines]
    assert sum(row["correct"] for row in predictions) / len(predictions) == pytest.approx(
        stored["datasets"]["names_ood"]["p_at_1"]
    )
    assert predictions[0]["query"] == {"text": "Name it.", "image": "cat.png"}
    assert predictions[0]["correct"] == (predictions[0]["best"][0]["text"] == "cat")
    assert [row["relevant"][0]["rank"] == 1 for row in predictions] == [row["correct"] for row in predictions]
    assert "| alike | other |  | P@1 |" in (tmp_path / "results.md").read_text()


def test_leaderboard_layout(result: EvalResult, tmp_path: Path) -> None:
    write_results(result, tmp_path, {"model_name": "nano", "embedding_dimension": 384})
    board = json.loads((tmp_path / "leaderboard.json").read_text())
    assert set(board["metadata"]) >= {"model_name", "model_backbone", "embedding_dimension", "report_generated_date"}
    assert set(board["metrics"]) == {"image", "video", "visdoc"}
    scores = json.loads((tmp_path / "image" / "alike_score.json").read_text())
    assert board["metrics"]["image"]["alike"] == scores
    assert scores["hit@1"] == pytest.approx(result.tasks["alike"].p_at_1)
    assert {
        f"{name}@{k}" for name in ("hit", "precision", "recall", "f1", "map", "mrr", "ndcg_linear") for k in (1, 5, 10)
    } <= (set(scores))
    assert (scores["num_pred"], scores["num_data"]) == (8, 8)
