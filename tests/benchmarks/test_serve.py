"""The benchmark of the server: three servers that answer alike, and the command's files."""

import json
from pathlib import Path

import pytest

from benchmarks.serve import OURS, PEERS, picture_requests, text_requests
from llave.cli.main import main


def test_no_request_is_sent_twice() -> None:
    texts, pictures = text_requests(0), picture_requests(0, 16)
    assert len({next(texts) for _ in range(500)}) == 500
    assert len({next(pictures) for _ in range(16)}) == 16
    body = json.loads(next(texts).partition(b"\r\n\r\n")[2])
    assert len(body["input"].split()) <= 24


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "serve", "nano", "--clients", "[2]", "--rounds", "1", "--seconds", "0.3", "--out", str(tmp_path)]
    assert main(words) == 0
    assert OURS in capsys.readouterr().out
    (file,) = tmp_path.glob("serve_*.json")
    found = json.loads(file.read_text())["measurements"]
    assert [(m["variant"], m["kind"]) for m in found] == [
        (name, kind) for kind in ("texts", "pictures") for name in (OURS, *PEERS)
    ]
    assert all(m["rate"] > 0 and m["ratio"] > 0 for m in found)
    assert f"| {OURS} |" in file.with_suffix(".md").read_text()


def test_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "serve", "nano", "--rounds", "0"]) == 2
    assert main(["bench", "serve", "nano", "--clients", "[0]"]) == 2
    assert "clients" in capsys.readouterr().err
