"""``llave doctor MODEL``: the screen, the JSON and the exit code."""

import json
from pathlib import Path
from typing import Any

import pytest

from llave.cli.main import main
from tests.models.tiny_backbones import build
from tests.models.tiny_encoders import bert


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("qwen2_vl", tmp_path_factory.mktemp("qwen2_vl"))


def test_a_model_on_one_screen(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(place), "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    said = {line[9:36].strip(): (line[:9].strip(), line[36:]) for line in lines}
    assert said["network"][1] == "Qwen2VLModel (qwen2_vl)"
    assert said["vector"][1] == "32 numbers, length 1"
    assert said["pooling"][1] == "lasttoken"
    assert said["a text"][1] == r'"<|im_start|>user\nTEXT<|im_end|>\n"'
    assert "<|image_pad|>×12<|vision_end|>TEXT" in said["with a picture"][1]
    assert said["picture 640x480"][1].startswith("14 tokens, pixel_values ")
    assert said["files"] == ("ok", f"loaded as {place} says")
    probes = ("text", "picture", "fused", "video", "mix: alone = together", "padding on the other side")
    assert {said[name][0] for name in probes} == {"ok"}
    assert len(lines) <= 40


def test_a_drifted_model_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = bert(tmp_path)
    (place / "README.md").write_text('---\nx: 1\n---\n  "matryoshka_dims": [\n 32,\n 16\n ],\n')
    assert main(["doctor", str(place), "--device", "cpu", "--json"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert report.keys() == {"model", "differences", "self_test", "ok"}
    assert report["ok"]
    assert report["model"] | {"family": "bert", "parameters": report["model"]["parameters"]} == report["model"]
    assert report["model"]["matryoshka"] == [32, 16]
    assert report["model"]["picture"] is None
    assert report["model"]["max_tokens"] == 512
    assert {probe.keys() == {"name", "ok", "measured", "wanted"} for probe in report["self_test"]} == {True}

    tokens = json.loads((place / "tokenizer.json").read_text())
    tokens["normalizer"] = {"type": "NFC"}
    (place / "tokenizer.json").write_text(json.dumps(tokens))
    assert main(["doctor", str(place), "--device", "cpu", "--json"]) == 1
    caught = capsys.readouterr()
    report = json.loads(caught.out)
    assert not report["ok"]
    [found] = report["differences"]
    assert found.keys() == {"part", "name", "where", "file", "loaded", "effect", "remedy"}
    assert (found["part"], found["effect"]) == ("tokenizer", "vectors")
    assert "llave doctor" not in caught.err  # the warning of load_model is on the screen already
    assert main(["doctor", str(place), "--device", "cpu"]) == 1
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("DIFFERS")]
    assert "tokenizer.json says NFC, loaded is BertNormalizer(" in line


def test_a_failed_probe_is_the_exit_code(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llave.models.self_test.TEXTS", ("a crab", "a crab"))  # as a model sees it that reads nothing
    assert main(["doctor", str(place), "--device", "cpu"]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAILED")]
    assert [line[9:36].strip() for line in failed] == ["text", "fused"]
    assert "0 apart, length 1.0000 (two apart, length 1 ± 0.001)" in failed[0]


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        ([str(tmp_path / "nowhere")], "no such directory"),
        ([str(tmp_path)], "no model here"),
        (["nano", "--dtype", "int3"], "dtype"),
        (["--device", "cpu"], "--device and --dtype are of a model; name it: llave doctor MODEL"),
    ):
        assert main(["doctor", *words]) == 2
        caught = capsys.readouterr()
        assert said in caught.err
        assert caught.err.count("\n") == 1
        assert caught.out == ""
