"""``llave serve --replicas``, with real models: the answers of one process, whatever becomes of the others."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.cli.serve import ServeConfig
from llave.cli.serve_models import load_replica, openings
from llave.serving.limits import Limits
from llave.serving.replicas import Replicas
from tests.serving.rerankers import bert
from tests.serving.running import Running, encoded, running

pytestmark = pytest.mark.slow
QUERY, DOCUMENTS = "the red fox", ["a cat", "the red umbrella", "rain on the blue dog"]


def wait_for(condition: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bert")


@pytest.fixture(scope="module")
def expected_scores(folder: Path) -> list[float]:
    found = bert(folder).score("text", None, [(QUERY, document) for document in DOCUMENTS])
    return [float(score) for score in found]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def server(folder: Path, expected_scores: list[float]) -> Iterator[Running]:
    """The nano model and a reranker in each of two processes."""
    config = ServeConfig(model="nano", rerank=f"bert={folder}", device="cpu", dtype="float32", replicas=2, threads=2)
    replicas = Replicas(partial(load_replica, config, openings(config)), 2, seconds=Limits().request_seconds)
    with running(replicas) as found:
        wait_for(lambda: replicas.num_ready == 2)
        yield found


def replicas_of(server: Running) -> Replicas:
    found: Replicas = server.app.state.service.replicas
    return found


def test_the_answers_are_those_of_one_process(
    server: Running, nano_untouched: SentenceTransformer, expected_scores: list[float]
) -> None:
    picture = Image.effect_mandelbrot((200, 120), (-2, -1, 1, 1), 60).convert("RGB")
    given = httpx.post(
        f"{server.url}/v1/embeddings", files={"image": encoded(picture)}, data={"text": "in blue"}, trust_env=False
    )
    together = {"image": picture, "text": "in blue"}
    for items, found in [
        (["a red circle"], server.vectors("a red circle")),
        ([f"text {n}" for n in range(70)], server.vectors([f"text {n}" for n in range(70)])),
        ([together], [given.json()["data"][0]["embedding"]]),
    ]:
        wanted = nano_untouched.encode(items, normalize_embeddings=True)
        np.testing.assert_allclose(np.array(found), wanted, atol=1e-5)
    ranked = server.client.post("/v1/rerank", json={"query": QUERY, "documents": DOCUMENTS}).json()["results"]
    scores = [each["relevance_score"] for each in sorted(ranked, key=lambda each: each["index"])]
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)
    cards = {card["id"]: card for card in server.client.get("/v1/models").json()["data"]}
    assert (cards["nano"]["dimension"], cards["bert"]["task"]) == (384, "rerank")


def test_one_is_killed_under_load(server: Running, nano_untouched: SentenceTransformer) -> None:
    texts = [f"{colour} {thing}" for colour in ("red", "blue", "old") for thing in ("dog", "boat", "house", "tree")]
    wanted = dict(zip(texts, nano_untouched.encode(texts, normalize_embeddings=True), strict=True))
    end, answers = threading.Event(), list[float]()
    wrong: list[str] = []

    def ask(number: int) -> None:
        while not end.is_set():
            text = texts[number % len(texts)]
            number += 7
            response = server.embed(text)
            if response.status_code != 200:
                wrong.append(response.text)
                continue
            answers.append(float(np.abs(response.json()["data"][0]["embedding"] - wanted[text]).max()))

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for client in clients:
        client.start()
    replicas = replicas_of(server)
    wait_for(lambda: len(answers) > 20)
    os.kill(replicas.pids[0], signal.SIGKILL)
    wait_for(lambda: replicas.num_ready == 1)
    before = len(answers)
    wait_for(lambda: len(answers) > before + 20)
    wait_for(lambda: replicas.num_ready == 2)  # started again, by itself
    end.set()
    for client in clients:
        client.join()
    assert not wrong
    assert max(answers) < 1e-5
    page = server.client.get("/metrics").text
    assert 'llave_replica_ends_total{replica="0"} 1.0' in page
    for line in ("llave_replicas 2.0", "llave_replicas_ready 2.0", 'llave_replica_items{replica="1"} 0.0'):
        assert line in page
    assert server.client.get("/health/ready").json() == {"status": "ready", "replicas": 2, "replicas_ready": 2}


def test_all_are_killed(server: Running) -> None:
    replicas = replicas_of(server)
    for pid in replicas.pids:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: replicas.num_ready == 0)
    for response in (server.embed("x"), server.client.get("/health/ready")):
        assert (response.status_code, response.json()["error"]["code"]) == (503, "no_replica")
        assert response.headers["retry-after"] == "2"
    assert server.client.get("/health/live").status_code == 200
    wait_for(lambda: server.client.get("/health/ready").status_code == 200)
    assert server.vectors("there again")


def start(log: Path, *words: str) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
    """``llave serve`` as people start it, and its model processes, which are still loading."""
    with log.open("w") as file:
        command = [sys.executable, "-m", "llave.cli.main", "serve", "nano", "--port", "0", "--replicas", "2", *words]
        front = subprocess.Popen(command, stderr=file, process_group=0)
    wait_for(lambda: front.poll() is not None or len(psutil.Process(front.pid).children()) == 2)
    assert front.poll() is None, log.read_text()
    return front, psutil.Process(front.pid).children()


def gone(replicas: list[psutil.Process]) -> bool:
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in replicas)


@pytest.mark.parametrize("signals", [[signal.SIGKILL], [signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
def test_none_is_left_behind(tmp_path: Path, signals: list[signal.Signals]) -> None:
    """However the server ends, and while they load; Ctrl-C reaches all of a terminal's processes."""
    front, replicas = start(tmp_path / "log", "--drain_seconds", "0")
    try:
        for each in signals:
            if each is signal.SIGINT:
                os.killpg(front.pid, each)
            else:
                front.send_signal(each)
            time.sleep(0.2)
        front.wait(120)
        wait_for(lambda: gone(replicas), 20)
    finally:
        for process in (front, *replicas):
            if process.poll() is None if isinstance(process, subprocess.Popen) else process.is_running():
                process.kill()
        front.wait()


def test_it_drains(tmp_path: Path) -> None:
    front, replicas = start(tmp_path / "log", "--drain_seconds", "1")
    try:
        wait_for(lambda: "ready: " in (tmp_path / "log").read_text() or front.poll() is not None)
        url = (tmp_path / "log").read_text().split("ready: ")[1].split()[0]
        codes: list[int] = []

        def ask() -> None:
            body = {"input": [f"word {number}" for number in range(200)]}
            codes.append(httpx.post(f"{url}/v1/embeddings", json=body, timeout=120, trust_env=False).status_code)

        client = threading.Thread(target=ask)
        client.start()
        metrics = f"{url}/metrics"
        wait_for(lambda: "llave_requests_in_flight 2.0" in httpx.get(metrics, trust_env=False).text)
        os.killpg(front.pid, signal.SIGTERM)  # as systemd does, to all processes of a service
        client.join()
        assert (codes, front.wait(60)) == ([200], 0)
        wait_for(lambda: gone(replicas), 20)
        assert "stopped; all requests were answered" in (tmp_path / "log").read_text()
    finally:
        front.kill()
        front.wait()
