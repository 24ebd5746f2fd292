"""`llave convert` of any raw checkpoint: pooling that no family says, and the fusion of a dual encoder."""

import json
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from llave import load_model
from llave.cli.main import main
from tests.models.tiny_backbones import build
from tests.models.tiny_encoders import bert, clip


def test_a_family_that_nobody_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = build("qwen2_vl", tmp_path)
    monkeypatch.setattr("llave.models.pooled.family_of_type", lambda model_type: None)
    assert main(["convert", str(source), str(tmp_path / "no")]) == 2
    assert "--pooling lasttoken (or mean, or cls)" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
    for pooling in ("mean", "lasttoken"):
        assert main(["convert", str(source), str(tmp_path / pooling), "--pooling", pooling]) == 0
    monkeypatch.undo()
    mean, last, known = (
        load_model(path, device="cpu").encode("a crab") for path in (tmp_path / "mean", tmp_path / "lasttoken", source)
    )
    assert np.allclose(last, known, atol=1e-6)
    assert mean @ known < 0.99
    assert np.allclose(SentenceTransformer(str(tmp_path / "mean"), device="cpu").encode("a crab"), mean, atol=1e-6)


def test_a_text_encoder_pooled_otherwise(tmp_path: Path) -> None:
    source = bert(tmp_path)
    assert main(["convert", str(source), str(tmp_path / "cls"), "--pooling", "cls"]) == 0
    assert json.loads((tmp_path / "cls" / "1_Pooling" / "config.json").read_text())["pooling_mode"] == "cls"


def test_fusion_is_for_dual_encoders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(clip(tmp_path / "clip")), str(tmp_path / "apart"), "--fusion", "none"]) == 0
    assert load_model(tmp_path / "apart", device="cpu").fusion == "none"
    assert main(["convert", str(bert(tmp_path / "bert")), str(tmp_path / "other"), "--fusion", "mean"]) == 2
    assert "leave fusion out" in capsys.readouterr().err
