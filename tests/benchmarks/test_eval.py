"""The benchmark of an evaluation: every variant finds the same scores, and the command reports what it saw."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer

from benchmarks.eval import BASE, compare, first_rows, measure_eval
from benchmarks.eval_peers import Outcome
from benchmarks.shaped_model import shaped_model
from llave.cli.main import main
from llave.errors import UserError
from tests.benchmarks.test_train import SMALL

SHARED = [f"candidate {number}" for number in range(4)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    return shaped_model(SMALL, tmp_path_factory.mktemp("model"), device=torch.device("cpu")).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets with the same candidates, one of them with pictures, and one with pictures as candidates."""
    root = tmp_path_factory.mktemp("folder")
    (root / "images").mkdir()
    (root / "eval").mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 255, (SMALL.side, SMALL.side + 8 * number, 3), np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{number}.png")

    def row(query: str, picture: str, texts: list[str], pictures: list[str]) -> dict[str, Any]:
        return {"qry_text": query, "qry_img_path": picture, "tgt_text": texts, "tgt_img_path": pictures}

    none, files = [""] * 4, [f"{number}.png" for number in range(4)]
    tables = {
        "texts": [row("a question " * (n + 1), "", SHARED[n:] + SHARED[:n], none) for n in range(4)],
        "names": [row("<|image_1|>\nWhat?", files[n], SHARED[n:] + SHARED[:n], none) for n in range(4)],
        "alike": [row("<|image_1|>\nLike this", files[n], none, files[n:] + files[:n]) for n in range(4)],
    }
    for name, rows in tables.items():
        (root / "eval" / f"{name}.json").write_text(json.dumps(rows))
    return root


def test_every_variant_finds_the_same_scores(model: SentenceTransformer, folder: Path) -> None:
    found = {m.variant: m for m in measure_eval(model, folder, limit=4, rounds=1, progress=False)}
    assert [name for name, m in found.items() if m.failed] == []
    assert len(found) == 5
    ours, apart, theirs = found[BASE], found["llave, data sets apart"], found["VLM2Vec's way"]
    assert ours.items == 12 + 4 + 4  # queries, the texts that two data sets share, and pictures
    assert apart.items == theirs.items == found["mteb"].items == 24
    assert theirs.tiles == 2 * (4 + 4 + 4) > ours.tiles
    for measurement in found.values():
        assert measurement.difference is None if measurement.variant == "mteb" else (measurement.difference or 0) < 1e-5
        phases = (measurement.reading or 0) + (measurement.encoding or 0) + (measurement.scoring or 0)
        assert 0 < phases <= (measurement.seconds or 0)


def test_other_scores_are_no_measurement() -> None:
    cosine_R2 = np.array([[0.5, 0.4], [0.3, 0.300001], [0.2, 0.6], [0.9, 0.1]], dtype=np.float32)
    ours = Outcome(hits={"one": 0.5}, cosines={"one": cosine_R2})
    assert compare("peer", Outcome(hits={"one": 0.5}, cosines={"one": cosine_R2}), ours) == (0.0, 0)
    assert compare("peer", Outcome(hits={"one": 0.75}), ours) == (None, 1)  # the second row is a tie
    with pytest.raises(UserError, match=r"one: peer finds hit@1 1.0, llave 0.5"):
        compare("peer", Outcome(hits={"one": 1.0}), ours)
    with pytest.raises(UserError, match="a cosine differs"):
        compare("peer", Outcome(hits={"one": 0.5}, cosines={"one": cosine_R2 + 1e-3}), ours)
    with pytest.raises(UserError, match="peer scores"):
        compare("peer", Outcome(hits={"two": 0.5}), ours)


def test_first_rows_and_candidates(folder: Path, tmp_path: Path) -> None:
    copy = first_rows(folder, tmp_path / "copy", limit=2, candidates=3)
    rows = pq.read_table(copy / "eval" / "names.parquet").to_pylist()
    assert [row["tgt_text"] for row in rows] == [SHARED[:3], SHARED[1:4]]
    assert (copy / "images" / "0.png").is_file()


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", "eval", "--folder", str(folder), "--limit", "1", "--rounds", "1", "--device", "cpu"]
    assert main([*command, "--candidates", "2", "--only", "encode", "--out", str(tmp_path)]) == 0
    assert "encode" in capsys.readouterr().out
    content = json.loads((tmp_path / "eval_cpu.json").read_text())
    assert [m["variant"] for m in content["measurements"]] == [BASE, "encode, each data set"]
    assert "| encode, each data set |" in (tmp_path / "eval_cpu.md").read_text()
    assert main([*command, "--candidates", "1"]) == 2
    assert "candidates at least 2" in capsys.readouterr().err
