"""From loading to the last answer: what the server says of itself, and what it does when it is full or told to stop."""

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sentence_transformers import SentenceTransformer

from llave import load_model
from llave.cli.main import main
from llave.cli.serve import ServeConfig
from llave.cli.serve_models import load, models, served
from llave.errors import UserError
from llave.models import precision
from llave.models.about import dtype_of, quantize_of
from llave.search.index import Index
from llave.serving.app import AppOptions, create_app
from llave.serving.engine import Engine, trained_dimensions
from llave.serving.limits import Limits
from tests.serving.running import connect, running


class Held(Engine):
    """A model that waits with every batch until it may go on."""

    def __init__(self, model: SentenceTransformer) -> None:
        super().__init__(model, name="nano")
        self.go = threading.Event()
        self.seen: list[Any] = []

    def encode(self, kind: str, prompt: str | None, inputs: list[Any]) -> list[Any]:
        self.seen += inputs
        self.go.wait(20)
        if "explode" in inputs:
            raise RuntimeError("secret of the machine")
        return super().encode(kind, prompt, inputs)


@pytest.fixture
def held(nano_untouched: SentenceTransformer) -> Held:
    return Held(nano_untouched)


def wait_for(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_full_queue(held: Held) -> None:
    with running(held, AppOptions(limits=Limits(queue_items=4))) as server, ThreadPoolExecutor(4) as pool:
        first = [pool.submit(server.embed, f"text {number}") for number in range(4)]
        wait_for(lambda: server.app.state.service.admission.held["items"] == 4)
        refused = server.embed("one more")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert 1 <= int(refused.headers["retry-after"]) <= 30
        assert server.embed(["x"] * 5).status_code == 413
        assert server.client.get("/health/live").status_code == 200
        held.go.set()
        assert [future.result().status_code for future in first] == [200] * 4
        assert server.embed("one more").status_code == 200


def test_a_deadline(held: Held) -> None:
    with running(held) as server:
        late = server.client.post("/v1/embeddings", json={"input": "x"}, headers={"x-request-timeout": "0.2"})
        assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
        late = server.client.post("/v1/embeddings", json={"input": "queued"}, headers={"x-request-timeout": "0.2"})
        assert late.status_code == 504
        assert server.app.state.service.admission.held == {"items": 0, "tokens": 0}
        held.go.set()
        assert server.embed("y").status_code == 200
        assert "queued" not in held.seen
        for asked in ("nan", "inf", "-1", "soon", "1e9"):  # as if nothing had been asked
            found = server.client.post("/v1/embeddings", json={"input": "z"}, headers={"x-request-timeout": asked})
            assert found.status_code == 200


def test_a_client_that_goes_away(held: Held) -> None:
    body = b'{"input": "gone"}'
    with running(held) as server, ThreadPoolExecutor(2) as pool:
        busy = pool.submit(server.embed, "busy")
        wait_for(lambda: held.seen == ["busy"])
        connection = connect(server.port)
        connection.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n" % len(body) + body
        )
        batcher = server.app.state.service.models[0].batcher
        wait_for(lambda: batcher.waiting == 1)
        connection.close()
        wait_for(lambda: batcher.waiting == 0)
        held.go.set()
        assert busy.result().status_code == 200
        assert server.embed("after").status_code == 200
        assert held.seen == ["busy", "after"]


def test_an_error_of_ours_says_nothing(held: Held, caplog: pytest.LogCaptureFixture) -> None:
    held.go.set()
    with running(held) as server:
        response = server.embed(["explode"])
        assert (response.status_code, response.json()["error"]["type"]) == (500, "server_error")
        assert "secret" not in response.text
        assert "secret of the machine" in caplog.text
        server.app.state.service.models[0].engine.check_dimensions = None  # the route itself breaks
        response = server.client.post("/v1/embeddings", json={"input": "x"}, headers={"x-request-id": "my-id-1"})
        assert (response.status_code, response.headers["x-request-id"]) == (500, "my-id-1")
        assert "my-id-1" in response.json()["error"]["message"]
        assert "NoneType" not in response.text
        assert "request my-id-1 failed" in caplog.text


def test_loading_and_ready(nano_untouched: SentenceTransformer) -> None:
    go, told = threading.Event(), list[str]()

    def load() -> list[Engine]:
        go.wait(20)
        return [Engine(nano_untouched, name="nano")]

    from starlette.testclient import TestClient

    app = create_app(load, AppOptions(), on_ready=lambda engines: told.extend(engine.name for engine in engines))
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/health/live").status_code == 200
        for response in (client.get("/health/ready"), client.post("/v1/embeddings", json={"input": "x"})):
            assert (response.status_code, response.json()["error"]["code"]) == (503, "loading")
            assert int(response.headers["retry-after"]) > 0
        go.set()
        wait_for(lambda: client.get("/health/ready").status_code == 200)
        assert told == ["nano"]


def test_draining(held: Held) -> None:
    with running(held, grace=0.5) as server, ThreadPoolExecutor(2) as pool:
        last = pool.submit(server.embed, "the last one")
        wait_for(lambda: held.seen == ["the last one"])
        server.server.drain()
        assert server.client.get("/health/ready").json()["error"]["code"] == "draining"
        assert server.client.get("/health/live").status_code == 200
        refused = server.embed("too late")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        held.go.set()
        assert last.result().status_code == 200


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """``llave serve`` as people start it."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    log = tmp_path_factory.mktemp("process") / "log"
    command = [sys.executable, "-m", "llave.cli.main", "serve", "nano", "--port", str(port), "--drain_seconds", "1"]
    with log.open("w") as file:
        started = subprocess.Popen(command, stderr=file, text=True, env={**os.environ, "LLAVE_API_KEY": "k" * 20})
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for_process(url, started)
            yield started, url, log
        finally:
            started.kill()
            started.wait()


@pytest.fixture
def hangups_are_heard() -> Iterator[None]:
    """Under nohup this process ignores them, and what it starts would with it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangups_are_heard")
@pytest.mark.parametrize(
    "sent", [signal.SIGTERM, *(pytest.param(each, marks=pytest.mark.slow) for each in (signal.SIGHUP, signal.SIGINT))]
)
def test_each_signal_ends_it_whatever_is_in_work(tmp_path: Path, sent: signal.Signals) -> None:
    """A client that sends no more of its body, and one that reads nothing of its answer."""
    with (tmp_path / "log").open("w") as file:
        command = [sys.executable, "-m", "llave.cli.main", "serve", "nano", "--port", "0", "--timeout", "3"]
        started = subprocess.Popen([*command, "--drain_seconds", "0"], stderr=file, text=True)
    try:
        wait_for(lambda: "ready: " in (tmp_path / "log").read_text() or started.poll() is not None, 120)
        port = int((tmp_path / "log").read_text().split("ready: http://127.0.0.1:")[1].split()[0])
        with connect(port) as waits, connect(port) as reads_nothing:
            body = json.dumps({"input": [f"word {number}" for number in range(2048)]}).encode()
            head = b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            head += b"content-length: %d\r\n\r\n" % len(body)
            waits.sendall(head + body[:9])
            reads_nothing.sendall(head + body)
            metrics = f"http://127.0.0.1:{port}/metrics"
            wait_for(lambda: "llave_requests_in_flight 3.0" in httpx.get(metrics, trust_env=False).text)
            started.send_signal(sent)
            assert started.wait(60) == 0
    finally:
        started.kill()
        started.wait()


def test_several_models(nano_untouched: SentenceTransformer, tmp_path: Path) -> None:
    other = load_model("nano")
    other.truncate_dim = 64
    engines = [Engine(nano_untouched, name="one"), Engine(other, name="two", aliases=["a/two"])]
    with running(engines) as server:
        cards = server.client.get("/v1/models").json()["data"]
        assert [(card["id"], card["dimension"]) for card in cards] == [("one", 384), ("two", 64)]
        assert server.client.get("/v1/models/a/two").json()["id"] == "two"
        for name, length in ((None, 384), ("one", 384), ("two", 64), ("a/two", 64)):
            response = server.embed(["a", "b"], **({"model": name} if name else {}))
            assert {len(row["embedding"]) for row in response.json()["data"]} == {length}
            assert response.json()["model"] == ("one" if length == 384 else "two")
        refused = server.embed("a", model="three")
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
        assert "'one', 'two'" in refused.json()["error"]["message"]


def test_models_by_name(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    given = ["nano", "red=models/a", "org/model", str(tmp_path / "a=b")]
    names = [("first", "nano"), ("red", "models/a"), ("model", "org/model"), ("a=b", str(tmp_path / "a=b"))]
    assert models(ServeConfig(model=given, name="first")) == names
    assert models(ServeConfig(model="nano")) == [("nano", "nano")]
    both = ServeConfig(model="nano", name="first", rerank=["judge=runs/judge", "org/reranker"])
    assert served(both) == [("first", "nano"), ("judge", "runs/judge"), ("reranker", "org/reranker")]
    with pytest.raises(UserError, match="two models are called 'nano'"):
        served(ServeConfig(model="nano", rerank="runs/nano"))


def wait_for_process(url: str, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None
        try:
            if httpx.get(f"{url}/health/ready", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("not ready")


@pytest.mark.slow
def test_sigterm_under_load_loses_nothing(process: tuple[subprocess.Popen[str], str, Path]) -> None:
    started, url, log = process
    key = {"authorization": "Bearer " + "k" * 20}

    async def load() -> tuple[list[int], list[int], int]:
        answered: list[int] = []
        health: list[int] = []
        lost = 0
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30, headers=key) as client:

            async def ask(number: int) -> None:
                nonlocal lost
                for turn in range(1000):
                    try:
                        response = await client.post("/v1/embeddings", json={"input": f"secret-{number}-{turn}"})
                    except httpx.ConnectError:
                        return  # the port is closed: the end
                    except httpx.TransportError:
                        lost += 1
                        return
                    answered.append(response.status_code)
                    if response.status_code == 503:
                        return

            tasks = [asyncio.create_task(ask(number)) for number in range(16)]
            while len(answered) < 60:
                await asyncio.sleep(0.01)
            os.kill(started.pid, signal.SIGTERM)
            while (status := (await client.get("/health/ready")).status_code) == 200:  # until the signal has arrived
                await asyncio.sleep(0.01)
            health.append(status)
            await asyncio.gather(*tasks)
        return answered, health, lost

    answered, health, lost = asyncio.run(load())
    assert started.wait(30) == 0
    assert health == [503]
    assert lost == 0
    assert set(answered) == {200, 503}
    assert answered.count(503) == 16
    lines = log.read_text()
    assert "ready: " + url in lines
    assert "API key needed" in lines
    records = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    posts = [record for record in records if record["route"] == "/v1/embeddings"]
    assert len(posts) >= answered.count(200)
    assert set(posts[0]) == {"time", "id", "method", "route", "status", "ms"}
    assert "secret-" not in lines
    assert "kkkk" not in lines
    assert "Traceback" not in lines


def test_metrics(nano_untouched: SentenceTransformer) -> None:
    with running(nano_untouched) as server:
        server.embed(["private words", "private words", "b"])
        server.embed([{"text": ""}])
        for number in range(30):
            server.client.get(f"/v1/items/{number}")
            server.client.get(f"/nothing/{number}")
            server.client.request(f"M{number}", "/v1/models")
        page = server.client.get("/metrics")
        assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
        families = {family.name: family for family in text_string_to_metric_families(page.text)}
    samples = [
        (sample.labels["route"], sample.labels["method"], sample.labels["status"], sample.value)
        for sample in families["llave_requests"].samples
        if sample.name == "llave_requests_total"
    ]
    assert ("/v1/embeddings", "POST", "200", 1.0) in samples
    assert ("/v1/embeddings", "POST", "400", 1.0) in samples
    assert ("/v1/items/{item_id}", "GET", "404", 30.0) in samples
    assert ("unmatched", "GET", "404", 30.0) in samples
    assert len(samples) < 12
    assert "private" not in page.text
    assert families["llave_tokens"].samples[0].value == 5
    assert families["llave_items_deduplicated"].samples[0].value == 1
    assert families["llave_queue_items"].samples[0].value == 0


def test_the_log_has_no_content(nano_untouched: SentenceTransformer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "llave.serving.access"), running(nano_untouched) as server:
        headers = {"authorization": "Bearer private-key-1234", "x-request-id": "bad id\twith spaces"}
        server.client.post("/v1/embeddings?private=1", json={"input": "private words"}, headers=headers)
        server.client.get("/private/path")
    assert "private" not in caplog.text
    assert "bad id" not in caplog.text
    assert '"route": "/v1/embeddings", "status": 200' in caplog.text


def test_a_busy_port(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["serve", "nano", "--port", str(taken.getsockname()[1])]) == 2
    assert "choose another --port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nano", "--port", "99999"], "0 to 65535"),
        (["nano", "--timeout", "0"], "timeout must be more than 0"),
        (["nano", "somewhere/nano"], "two models are called 'nano'"),
        (["nano", "--rerank", "a/judge", "--rerank", "b/judge"], "two models are called 'judge'"),
        (["--rerank", "./nowhere", "--port", "0"], "no such directory"),
        (["--rerank", "nano", "--port", "0"], "no such directory"),
        (["a=./b", "--port", "0"], "b: no such directory"),
        (["nano", "--gallery", "nowhere.html"], "llave analyze"),
        (["nano", "--index", "nowhere", "--port", "0"], "no index here"),
        (["./nowhere", "--port", "0"], "no such directory"),
        (["nano", "--dimensions", "[999]", "--port", "0"], "between 1 and 384"),
        (["nano", "--cors_origins", "[example.org]"], "https://example.org"),
        (["nano", "--allow_remote_from", "['*']", "--port", "0"], "not a host name"),
        (["nano", "--api_keys_file", "nowhere"], "cannot be read"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("llave: ")
    assert message in error


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    shown = capsys.readouterr().out
    for words in (
        "curl http://127.0.0.1:8000/v1/embeddings",
        "LLAVE_API_KEY",
        "--allow_remote_from",
        "--drain_seconds",
    ):
        assert words in shown


def test_dimensions_of_a_models_own_record(tmp_path: Path, nano_untouched: SentenceTransformer) -> None:
    assert trained_dimensions("nano") == []
    record = {"config": {"loss": {"matryoshka_dims": [64, 384]}}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert trained_dimensions(str(tmp_path)) == [64, 384]
    broken = ["{}", "[]", "", "[" * 100_000, '{"config": "x"}', "\xff", '{"config": {"loss": 5}}']
    dims = "64", '["a"]', '{"a": 1}', "[null]"
    broken += [f'{{"config": {{"loss": {{"matryoshka_dims": {value}}}}}}}' for value in dims]
    for text in broken:
        (tmp_path / "run.json").write_text(text, "latin-1")
        assert trained_dimensions(str(tmp_path)) == [], text[:80]
    with pytest.raises(UserError, match="between 1 and 384"):
        Engine(nano_untouched, name="nano", dimensions=[385])


def test_the_index_says_how_its_model_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a processor that would take bfloat16 for a new one."""
    monkeypatch.setattr(precision, "processor_multiplies_bfloat16", lambda: True)
    index = tmp_path / "the.index"
    argv = ["index", "nano", str(tmp_path / "a.jsonl"), "--index", str(index), "--map", "false", "--device", "cpu"]
    (tmp_path / "a.jsonl").write_text('{"text": "a red circle"}\n')
    assert main([*argv, "--quantize", "int8"]) == 0
    (engine,) = load(ServeConfig(model="nano", index=index, device="cpu"))
    assert (quantize_of(engine.model), dtype_of(engine.model)) == ("int8", "float32")
    Index.open(index).check_model(cast(SentenceTransformer, engine.model))
    (engine,) = load(ServeConfig(model="nano", device="cpu"))
    assert (quantize_of(engine.model), dtype_of(engine.model)) == (None, "bfloat16")
