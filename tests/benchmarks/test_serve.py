"""The benchmark of the server: three servers that answer alike, and the command's files."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from benchmarks.serve import OURS, PEERS, picture_requests, text_requests
from benchmarks.serve_peer import create_peer
from llave.cli.main import main


def test_no_request_is_sent_twice() -> None:
    texts, pictures = text_requests(0), picture_requests(0, 4)
    assert len({next(texts) for _ in range(500)}) == 500
    assert len({next(pictures) for _ in range(16)}) == 16
    assert len(body_of(next(texts))["input"].split()) <= 24


def test_pictures_in_turn_are_other_files_with_the_same_pixels() -> None:
    pictures = picture_requests(0, 2, modality=True)
    first, second, third = (opened(body_of(next(pictures))["input"][0]) for _ in range(3))
    assert first == third != second


def test_a_plain_server_takes_pictures_in_both_forms() -> None:
    class Sizes:
        def encode(self, inputs: list[Any], **_: Any) -> np.ndarray[Any, Any]:
            return np.array([[0.0] if isinstance(each, str) else each.size for each in inputs])

    client = TestClient(create_peer(Sizes(), in_loop=False))
    found = []
    for modality in (True, False):
        body = body_of(next(picture_requests(0, 1, modality=modality))) | {"encoding_format": "float"}
        found.append(client.post("/v1/embeddings", json=body).json()["data"][0]["embedding"])
    assert found[0] == found[1]
    assert len(found[0]) == 2
    assert client.post("/v1/embeddings", json={"input": "a"}).json()["data"][0]["embedding"] == [0.0]


def body_of(request: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.partition(b"\r\n\r\n")[2])
    return found


def opened(address: str) -> bytes:
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).tobytes()


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
