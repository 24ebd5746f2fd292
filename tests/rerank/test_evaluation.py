"""A second stage: what moves, what stays, what it costs; the first stage's scores are not touched."""

import json
from pathlib import Path

import numpy as np
import pytest

from llave.cli.main import main
from llave.errors import UserError
from llave.evaluation.result import ScoredRow
from llave.models.open import save_model
from llave.rerank.evaluation import _reranked, rerank_result, shortlist
from tests.rerank.folder import COLOURS, write_folder
from tests.rerank.tiny_rerankers import qwen3_vl_reranker


def row(scores: list[float], gains: int = 1) -> ScoredRow:
    values = np.array(scores, np.float32)
    ranks = np.array([1.0 + np.sum(values[gains:] >= values[place]) for place in range(gains)])
    return ScoredRow(0, 0, np.arange(len(scores), dtype=np.int32), values, ranks, np.ones(gains))


def test_the_shortlist_lets_no_tie_help() -> None:
    assert shortlist(row([0.5, 0.9, 0.5, 0.1]), 2).tolist() == [1, 2]
    assert shortlist(row([0.5, 0.9, 0.5, 0.1]), 9).tolist() == [1, 2, 0, 3]


def test_ranks_after_the_second_stage() -> None:
    first = row([0.5, 0.9, 0.6, 0.1])
    places = shortlist(first, 3)  # 1, 2, 0
    up = _reranked(first, places, np.array([-3.0, -2.0, -1.0]), 1.0, "strict")
    assert (up.ranks.tolist(), up.best) == ([1.0], 0)
    tie = _reranked(first, places, np.array([-3.0, -1.0, -1.0]), 1.0, "strict")
    assert (tie.ranks.tolist(), tie.best) == ([2.0], 2)
    refused = _reranked(first, places, np.array([-3.0, -2.0, np.nan]), 1.0, "strict")
    assert refused.ranks.tolist() == [3.0]  # behind those that have a score, before the fourth
    unseen = _reranked(first, shortlist(first, 2), np.array([-3.0, -2.0]), 1.0, "strict")
    assert unseen.ranks.tolist() == [3.0]
    alone = _reranked(first, places, np.array([-3.0, -2.0, -1.0]), 0.0, "strict")
    assert alone.ranks.tolist() == first.ranks.tolist()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, nano_untouched: object) -> Path:
    folder = tmp_path_factory.mktemp("rerank")
    write_folder(folder / "data")
    reranker = qwen3_vl_reranker(folder / "base")
    save_model(nano_untouched, folder / "model")
    common = ["eval", str(folder / "model"), "--benchmark", str(folder / "data"), "--device", "cpu"]
    assert main([*common, "--out", str(folder / "plain")]) == 0
    assert main([*common, "--out", str(folder / "both"), "--rerank", str(reranker), "--top", "3"]) == 0
    return folder


def test_results_hold_before_and_after(out: Path) -> None:
    plain = json.loads((out / "plain/results.json").read_text())
    both = json.loads((out / "both/results.json").read_text())
    assert "rerank" not in plain
    assert both["datasets"] == plain["datasets"]  # the first stage's
    found = both["rerank"]["datasets"]["colours"]
    assert found["before"] == plain["datasets"]["colours"]["p_at_1"]
    assert found["difference"] == pytest.approx(found["after"] - found["before"])
    assert found["helped"] - found["hurt"] == round(found["difference"] * len(COLOURS))
    assert found["pairs"] == 3 * len(COLOURS)
    assert found["by_weight"]["0"] == found["before"]
    assert found["by_weight"]["1"] == found["after"]
    assert found["cpu_ms_per_query"] > 0
    page = (out / "both/rerank.md").read_text()
    assert "before %" in page
    assert not found["hurt"] or "Hurt worst" in page
    assert both["run"]["options"]["top"] == 3


def test_options_out_of_range(out: Path) -> None:
    common = ["eval", str(out / "model"), "--benchmark", str(out / "data"), "--rerank", str(out / "model")]
    assert main([*common, "--top", "0"]) == 2
    assert main(common) == 2  # an embedding model is no reranker
    with pytest.raises(UserError, match="top"):
        rerank_result(None, None, top=0)
