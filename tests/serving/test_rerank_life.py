"""A reranking server under those who mean it harm or go away: it stays live, and honest answers stay right."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from llave.rerank.reranker import Pair, Reranker, Score
from llave.serving.app import AppOptions
from llave.serving.limits import MIB, Limits
from llave.serving.rerank_engine import RerankEngine
from tests.rerank.tiny_rerankers import qwen3_vl_reranker
from tests.serving.rerankers import bert_directory
from tests.serving.running import Running, connect, encoded, running
from tests.serving.test_life import wait_for


class Held(RerankEngine):
    """A reranker that waits with every batch until it may go on."""

    def __init__(self, reranker: Reranker) -> None:
        super().__init__(reranker, name="held")
        self.go = threading.Event()
        self.seen: list[Pair] = []

    def score(self, modality: Any, prompt: str | None, pairs: list[Pair]) -> list[Score]:
        self.seen += pairs
        self.go.wait(20)
        if any("explode" in pair for pair in pairs):
            raise RuntimeError("secret of the machine")
        return super().score(modality, prompt, pairs)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Reranker:
    return Reranker.open(bert_directory(tmp_path_factory.mktemp("bert")), device="cpu")


@pytest.fixture
def held(texts: Reranker) -> Held:
    return Held(texts)


@pytest.fixture(scope="module")
def server(texts: Reranker) -> Iterator[Running]:
    with running(RerankEngine(texts, name="bert"), AppOptions(limits=Limits(items=256))) as found:
        yield found


def body(documents: list[Any], query: Any = "the red fox") -> bytes:
    return json.dumps({"query": query, "documents": documents}).encode()


def head(length: int) -> bytes:
    fields = f"content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    return f"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\n{fields}".encode()


def test_who_goes_away_leaves_the_queue(held: Held) -> None:
    with running(held) as server:
        batcher = server.app.state.service.rerankers[0].batcher
        busy = connect(server.port)
        first = body(["busy"])
        busy.sendall(head(len(first)) + first)
        wait_for(lambda: held.seen)
        gone = connect(server.port)
        many = body([f"gone {number}" for number in range(50)])
        gone.sendall(head(len(many)) + many)
        wait_for(lambda: batcher.waiting == 50)
        gone.close()
        wait_for(lambda: batcher.waiting == 0)
        held.go.set()
        assert b"200 OK" in busy.recv(1 << 16)
        busy.close()
        assert not any("gone" in str(pair) for pair in held.seen)
        assert server.app.state.service.admission.held == {"items": 0, "tokens": 0}


def test_a_full_queue_and_an_error_of_ours(held: Held, texts: Reranker) -> None:
    with running(held, AppOptions(limits=Limits(queue_items=20, items=20))) as server, ThreadPoolExecutor(2) as pool:

        def ask(count: int) -> httpx.Response:
            return server.client.post("/v1/rerank", content=body([f"{count} {n}" for n in range(count)]))

        waiting = pool.submit(ask, 14)
        wait_for(lambda: held.seen)
        refused = ask(15)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        held.go.set()
        assert waiting.result().status_code == 200
        failed = server.client.post("/v1/rerank", content=body(["good", "explode"]))
        assert failed.status_code == 500
        assert "secret" not in failed.text
        assert ask(3).status_code == 200


def test_queries_with_pictures_do_not_wait_for_one_another(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each holds its own picture while its documents wait for memory: they need several times what there is."""
    reranker = Reranker.open(qwen3_vl_reranker(tmp_path_factory.mktemp("qwen")), device="cpu")

    def address(number: int) -> str:
        image = Image.new("RGB", (512, 512), (number % 255, 80, number // 255))
        return "data:image/png;base64," + base64.b64encode(encoded(image)).decode()

    limits = Limits(queue_bytes=2 * MIB, media_at_once=2, request_seconds=10)
    with running(RerankEngine(reranker, name="qwen"), AppOptions(limits=limits)) as server:

        def ask(number: int) -> httpx.Response:
            pictures = [address(10 * number + n) for n in range(3)]
            if number % 2:
                sides = {"data_1": [{"image": one} for one in pictures], "data_2": [{"image": pictures[0]}] * 3}
                return server.client.post("/score", json=sides)
            documents = [*({"image": one} for one in pictures), "a text"]
            return server.client.post("/v1/rerank", json={"query": {"image": pictures[0]}, "documents": documents})

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(12)))
        assert [answer.status_code for answer in answers] == [200] * 12, answers[0].text
        assert server.app.state.service.media.held == 0


HOSTILE = {
    "100,000 documents": body(["a"] * 100_000),
    "more than the limit": body(["a"] * 300),
    "a huge document": body(["word " * 6_000_000]),
    "a huge query": body(["a"], "word " * 100_000),
    "depth": b'{"query":"a","documents":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "less depth": b'{"query":"a","documents":[' + b'{"content":[' * 10_000 + b"]}" * 10_000 + b"]}",
    "objects": body([{"text": "a"}] * 60_000),
    "wrong objects": body([{"texts": "a"}] * 40_000),
    "texts as long as may be": body(["umbrella" * 25_000] * 60, "the " * 50_000),
}


@pytest.mark.slow
def test_an_attack_leaves_it_live(server: Running) -> None:
    """Every kind at a time from several clients, half of which go away before the answer, beside honest ones."""
    documents = ["rain", "a red fox", "an umbrella in the rain"]
    model = server.app.state.service.rerankers[0].engine.model
    wanted = model.predict([["the red fox", document] for document in documents])
    statuses: dict[str, set[int]] = {name: set() for name in HOSTILE}
    wrong: list[str] = []
    over = threading.Event()

    def attack(name: str) -> None:
        raw = HOSTILE[name]
        for number in range(4):
            if number % 2:
                with connect(server.port) as connection:
                    try:
                        connection.sendall(head(len(raw)) + raw[: len(raw) // number])
                    except OSError:
                        continue
            else:
                answer = httpx.post(
                    f"{server.url}/v1/rerank",
                    content=raw,
                    headers={"content-type": "application/json"},
                    timeout=60,
                    trust_env=False,
                )
                statuses[name].add(answer.status_code)
                assert answer.status_code == 200 or len(answer.content) < 1000

    def honest() -> None:
        while not over.is_set():
            answer = httpx.post(
                f"{server.url}/v1/rerank",
                json={"query": "the red fox", "documents": documents},
                timeout=60,
                trust_env=False,
            )
            if answer.status_code == 200:
                found = {row["index"]: row["relevance_score"] for row in answer.json()["results"]}
                right = np.allclose([found[n] for n in range(3)], wanted, atol=1e-5)
            else:
                right = answer.status_code == 429
            if not right:
                wrong.append(answer.text)
            if httpx.get(f"{server.url}/health/live", timeout=30, trust_env=False).status_code != 200:
                wrong.append("not live")

    with ThreadPoolExecutor(len(HOSTILE) + 2) as pool:
        beside = [pool.submit(honest) for _ in range(2)]
        attacks = [pool.submit(attack, name) for name in HOSTILE]
        for one in attacks:
            one.result()
        over.set()
        for one in beside:
            one.result()
    assert wrong == []
    assert statuses.pop("texts as long as may be") <= {200, 429, 504}
    assert set().union(*statuses.values()) <= {400, 413, 429}, statuses
    wait_for(lambda: server.app.state.service.admission.held == {"items": 0, "tokens": 0})
    end = time.monotonic() + 60
    while server.client.get("/health/ready").status_code != 200:
        assert time.monotonic() < end
