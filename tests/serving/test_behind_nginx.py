"""Three whole servers behind the nginx that deploy/ ships: one killed and one stopped under load cost no answer.

A server that is killed between the head of an answer and the end of its body leaves the client with half of it, which
no proxy can take back: clients ask again then, as OpenAI's does, and there are no more of these than requests in work.
"""

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import httpx
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from llave.serving.run import listen
from tests.programs import program

CONFIG = Path(__file__).parents[2] / "deploy" / "nginx.conf"
CLIENTS = 12
START_SECONDS, GIVE_UP_SECONDS = 400.0, 120.0
LATER = {429, 502, 503}
"""Answers after which a client tries again, when Retry-After says."""
TEXTS = [f"{a} {b} {c}" for a, b, c in itertools.product(("red", "old", "tall"), ("dog", "boat", "tree"), range(12))]


def free_port() -> int:
    with listen("127.0.0.1", 0) as found:
        port: int = found.getsockname()[1]
        return port


class Server:
    """``llave serve`` as people start it."""

    def __init__(self, port: int, log: IO[str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        words = ["serve", "nano", "--port", str(port), "--threads", "1", "--drain_seconds", "2"]
        self.process = subprocess.Popen([sys.executable, "-m", "llave.cli.main", *words], stderr=log)

    def wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        while not self.is_ready():
            assert self.process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.2)

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/ready", trust_env=False, timeout=30).status_code == 200
        except httpx.TransportError:
            return False

    def answered(self) -> int:
        """Requests for vectors, so far."""
        page = httpx.get(f"{self.url}/metrics", trust_env=False, timeout=30).text
        lines = [line for line in page.splitlines() if 'route="/v1/embeddings",status="200"' in line]
        return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith("llave_requests_total"))


@contextmanager
def nginx(folder: Path, ports: list[int]) -> Iterator[str]:
    """The address of deploy/nginx.conf before servers on these ports."""
    port = free_port()
    config = CONFIG.read_text()
    for old, new in [
        ("listen 8080;", f"listen 127.0.0.1:{port};"),
        ("/tmp/", f"{folder}/"),
        *((f"server llave-{number}:8000 ", f"server 127.0.0.1:{each} ") for number, each in enumerate(ports, start=1)),
    ]:
        assert old in config
        config = config.replace(old, new)
    (folder / "nginx.conf").write_text(config)
    words = [program("nginx"), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    with (folder / "nginx.log").open("w") as log:
        process = subprocess.Popen([*words, "-g", "daemon off; master_process off;"], stderr=log)
        try:
            while not (folder / "nginx.pid").is_file():  # it listens by then
                assert process.poll() is None, (folder / "nginx.log").read_text()
                time.sleep(0.01)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


class Load:
    """Clients that ask again when they are told to, and keep every answer."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.end = threading.Event()
        self.answers: list[tuple[list[str], list[list[float]]]] = []
        self.seen: Counter[int] = Counter()
        self.lost: list[str] = []
        self.cut = 0

    def run(self, seed: int) -> None:
        draw = random.Random(seed)
        with httpx.Client(base_url=self._url, trust_env=False, timeout=GIVE_UP_SECONDS) as client:
            while not self.end.is_set():
                self._ask(client, draw.sample(TEXTS, draw.randint(1, 3)))

    def _ask(self, client: httpx.Client, texts: list[str]) -> None:
        end = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < end:
            try:
                response = client.post("/v1/embeddings", json={"input": texts})
            except httpx.TransportError as error:
                if "without sending complete message body" in str(error):
                    self.cut += 1
                    continue
                self.lost.append(repr(error))
                return
            self.seen[response.status_code] += 1
            if response.status_code == 200:
                self.answers.append((texts, [entry["embedding"] for entry in response.json()["data"]]))
                return
            if response.status_code not in LATER or "retry-after" not in response.headers:
                self.lost.append(f"{response.status_code}: {response.text}")
                return
            time.sleep(float(response.headers["retry-after"]))
        self.lost.append("gave up")


@pytest.mark.slow
def test_no_answer_is_lost_or_wrong(tmp_path: Path, nano_untouched: SentenceTransformer) -> None:
    ports = [free_port() for _ in range(3)]
    with ExitStack() as stack:
        log = stack.enter_context((tmp_path / "log").open("w"))
        servers = [Server(port, log) for port in ports]
        for server in servers:
            stack.callback(server.process.wait)
            stack.callback(server.process.kill)
        for server in servers:
            server.wait()
        load = Load(stack.enter_context(nginx(tmp_path, ports)))
        pool = stack.enter_context(ThreadPoolExecutor(CLIENTS))
        stack.callback(load.end.set)
        clients = [pool.submit(load.run, seed) for seed in range(CLIENTS)]

        def more(answers: int) -> None:
            """Until so many more have come."""
            wanted, end = len(load.answers) + answers, time.monotonic() + GIVE_UP_SECONDS
            while len(load.answers) < wanted:
                assert time.monotonic() < end
                time.sleep(0.02)

        more(60)
        assert min(server.answered() for server in servers) > 0  # all take part
        servers[0].process.kill()  # without a word
        servers[0].process.wait()
        more(60)
        again = Server(ports[0], log)
        stack.callback(again.process.wait)
        stack.callback(again.process.kill)
        os.kill(servers[1].process.pid, signal.SIGTERM)  # as a rolling update does
        more(60)
        assert servers[1].process.wait(60) == 0
        again.wait()  # the third one answers alone meanwhile
        more(60)
        before = again.answered()
        more(60)
        assert again.answered() > before
        load.end.set()
        for client in clients:
            client.result()
    assert not load.lost
    assert load.cut <= CLIENTS
    assert load.seen[200] == len(load.answers) > 300
    expected = dict(zip(TEXTS, nano_untouched.encode(TEXTS, normalize_embeddings=True), strict=True))
    for texts, vectors in load.answers:
        np.testing.assert_allclose(np.array(vectors), [expected[text] for text in texts], atol=1e-5)


@pytest.mark.slow
def test_nobody_there_is_told_to_come_again(tmp_path: Path) -> None:
    with nginx(tmp_path, [free_port() for _ in range(3)]) as url, httpx.Client(base_url=url, trust_env=False) as client:
        for _ in range(5):
            response = client.post("/v1/embeddings", json={"input": "x"})
            assert (response.status_code, response.headers["retry-after"]) == (503, "1")
            assert response.json()["error"]["code"] == "unavailable"
        assert client.get("/metrics").status_code == 404
