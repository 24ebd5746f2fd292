"""``llave eval --quantize int8``: said once, recorded, and apart from float32 in a cache."""

import json
from pathlib import Path
from typing import Any

import pytest

from llave.cli.main import main
from llave.evaluation.record import differences, run_record
from llave.models.open import load_model
from tests.models.tiny_encoders import bert


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("int8")
    (root / "data" / "eval").mkdir(parents=True)
    names = ("cat", "dog", "boat")
    rows = [
        {"qry_text": f"the {name} ", "qry_img_path": "", "tgt_text": [name, *names], "tgt_img_path": [""] * 4}
        for name in names
    ]
    (root / "data" / "eval" / "t.json").write_text(json.dumps(rows))
    return ["eval", str(bert(root / "bert")), "--benchmark", str(root / "data"), "--device", "cpu", "--json"]


def test_eval_in_int8(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown: dict[str, Any] = {}
    for quantize in ("none", "int8"):
        assert main([*words, "--cache", str(tmp_path), "--dtype", "float32", "--quantize", quantize]) == 0
        out, err = capsys.readouterr()
        shown[quantize] = json.loads(out)
        lines = [line for line in err.splitlines() if "cosine to the same model's float32 vectors" in line]
        assert len(lines) == (quantize == "int8")
        assert all("over 6 items" in line for line in lines), "three queries and their candidates"
    assert shown["none"]["vectors"] != shown["int8"]["vectors"]
    assert shown["int8"]["run"]["model"]["quantize"] == "int8"
    assert "quantize" not in shown["none"]["run"]["model"], "a record of before is no other one"
    assert len(list(tmp_path.iterdir())) == 2, "a cache for each"


def test_a_record_names_it(words: list[str]) -> None:
    plain, quantized = (run_record(load_model(words[1], device="cpu", quantize=how), {}) for how in ("none", "int8"))
    assert "model: quantize: none then, int8 now" in differences(plain, quantized)
