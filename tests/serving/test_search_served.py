"""``llave search`` of an index that is served: the server's answer, the same as by itself, and its own without one."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.cli.main import main
from llave.search.build import build_index
from llave.search.index import Index
from llave.search.served import IndexServer, announced, find_server
from llave.serving.app import AppOptions
from tests.serving.running import Running, running

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def things(tmp_path: Path, nano_untouched: SentenceTransformer, picture: Callable[[int], Image.Image]) -> Path:
    source = tmp_path / "things"
    source.mkdir()
    for number in range(12):
        picture(number).save(source / f"p{number}.png")
    rows = [{"image": f"p{n}.png", "id": str(n), "artist": "me" if n % 2 else "you", "year": n} for n in range(12)]
    rows += [{"image": "", "id": "words", "caption": "a red crab on the beach", "artist": None, "year": None}]
    (source / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    build_index(tmp_path / "index", nano_untouched, source / "t.jsonl")
    return tmp_path / "index"


def search(*words: str, index: Path) -> list[str]:
    return ["search", *words, "--index", str(index), "--json"]


QUERIES: list[list[str]] = [
    ["crab"],
    ["a red crab", "--limit", "3", "--offset", "2"],
    ["crab", "--filter", "artist = me and year >= 3"],
    ["crab", "--mode", "words"],
    ["crab", "--mode", "hybrid", "--mmr", "0.3"],
    ["crab", "--one_per", "artist"],
    ["--sort", "-year", "--limit", "4"],
    ["--filter", "artist = you"],
]


def test_the_same_answer(things: Path, nano_untouched: SentenceTransformer, capsys: Captured) -> None:
    image = str(things.parent / "things" / "p3.png")
    queries = [*QUERIES, ["--image", image], ["crab", "--image", image], ["crab", "--image", image, "--weight", "0.4"]]
    alone = []
    for query in queries:
        assert main(search(*query, index=things)) == 0
        alone.append(json.loads(capsys.readouterr().out))
    with (
        running(nano_untouched, AppOptions(index=Index.open(things))) as server,
        announced(things, IndexServer(f"{server.url}/v1/search?index=1")),
    ):
        for query, own in zip(queries, alone, strict=True):
            before = _searches(server)
            assert main(search(*query, index=things)) == 0
            assert _searches(server) == before + 1, query
            _same(json.loads(capsys.readouterr().out), own)
        before = _searches(server)
        assert main(search("crab", "--server", "false", index=things)) == 0
        assert main(search("crab", "--exact", index=things)) == 0
        assert main(search("x" * 401, index=things)) == 0
        assert main([*search("--like", "p3.png", index=things)]) == 0
        assert _searches(server) == before  # not for a server


def _searches(server: Running) -> int:
    """Searches that the server has answered."""
    lines = server.client.get("/metrics").text.splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if "/v1/search" in line and "requests_total" in line)


def _same(found: list[dict[str, Any]], own: list[dict[str, Any]]) -> None:
    assert [hit["id"] for hit in found] == [hit["id"] for hit in own]
    for hit, other in zip(found, own, strict=True):
        score, expected = hit.pop("score"), other.pop("score")
        assert score == (None if expected is None else pytest.approx(expected, abs=1e-5))
        assert hit.pop("scores") == pytest.approx(other.pop("scores"), abs=1e-5)
        assert hit == other


def test_what_was_indexed_just_now(things: Path, nano_untouched: SentenceTransformer, capsys: Captured) -> None:
    with (
        running(nano_untouched, AppOptions(index=Index.open(things))) as server,
        announced(things, IndexServer(f"{server.url}/v1/search?index=1")),
    ):
        for number in range(3):
            text = f"a boat of number {number}"
            more = things.parent / f"more{number}"
            more.mkdir()
            (more / "new.jsonl").write_text(json.dumps({"id": f"new{number}", "caption": text}) + "\n")
            build_index(things, nano_untouched, more / "new.jsonl")
            assert main(search(text, "--limit", "1", index=things)) == 0
            assert json.loads(capsys.readouterr().out)[0]["text"] == text


def test_a_mistake_is_told_as_ever(things: Path, nano_untouched: SentenceTransformer, capsys: Captured) -> None:
    bad = search("crab", "--filter", "colour = red", index=things)
    assert main(bad) == 2
    expected = capsys.readouterr().err
    with (
        running(nano_untouched, AppOptions(index=Index.open(things))) as server,
        announced(things, IndexServer(f"{server.url}/v1/search?index=1")),
    ):
        assert main(bad) == 2
    assert capsys.readouterr().err == expected


def test_an_address_does_not_outlive_its_server(things: Path, capsys: Captured) -> None:
    assert find_server(things) is None
    script = (
        "import sys, time; from pathlib import Path; from llave.search.served import *\n"
        "with announced(Path(sys.argv[1]), IndexServer('http://127.0.0.1:9/v1/search')): print('up', flush=True); "
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(things)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        assert find_server(things) == IndexServer("http://127.0.0.1:9/v1/search")
        assert find_server(things.parent) is None
        with announced(things, IndexServer("http://127.0.0.1:10/")):  # the first one stays
            assert find_server(things) == IndexServer("http://127.0.0.1:9/v1/search")
        assert main(search("crab", index=things)) == 0  # nobody answers there: by itself
        assert len(json.loads(capsys.readouterr().out)) == 10
        process.kill()
    assert find_server(things) is None


def test_another_users_server_is_not_asked(things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with announced(things, IndexServer("http://127.0.0.1:9/")):
        assert find_server(things) is not None
        monkeypatch.setenv("LLAVE_HOME", str(tmp_path / "another user's"))
        assert find_server(things) is None


def test_what_is_damaged_or_cannot_be_written_costs_nothing_but_time(
    things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "state"
    monkeypatch.setenv("LLAVE_HOME", str(home))
    with announced(things, IndexServer("http://127.0.0.1:9/")):
        (file,) = (home / "serving").glob("*.json")
        for damaged in ("", "[]", '{"url": 1}', "\0"):
            file.write_text(damaged)
            assert find_server(things) is None
    monkeypatch.setenv("LLAVE_HOME", str(things / "index.json"))  # a file, where a folder has to be made
    with announced(things, IndexServer("http://127.0.0.1:9/")):
        assert find_server(things) is None


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n\r\n{}", b"nonsense\r\n\r\n", b"HTTP/1.1 503 x\r\n\r\n"])
def test_an_answer_that_is_none(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.getsockname()[1]

        def reply() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        assert IndexServer(f"http://127.0.0.1:{number}/v1/search").search({"text": "crab"}) is None
        thread.join(10)
