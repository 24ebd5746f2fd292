"""Clients that mean well, and a look at the server's health and memory while others do not."""

import base64
import contextlib
import math
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import psutil
from PIL import Image

from benchmarks.hostile.bombs import encoded
from llave.data.images import load_image
from llave.search.index import Index

__all__ = ["Honest", "Seen", "Watch"]

NEAR = 1e-4
TEXTS, PICTURES = 60, 12
PATIENCE = 120.0


@dataclass
class Seen:
    """What became of the honest requests: seconds of each, and what was lost or wrong."""

    seconds: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def p95(self) -> float:
        """Milliseconds."""
        return 1e3 * float(np.percentile(self.seconds, 95)) if self.seconds else math.nan


class Honest:
    """Four clients that ask one thing after the other and compare the answers with ``model.encode``, and searches with
    the index's own.

    Args:
        model: the one that is served.
        port: of the server.
        index: that is served, if there is one.
    """

    def __init__(self, model: Any, port: int, index: Index | None = None) -> None:
        draw = np.random.default_rng(0)
        self._port = port
        words = random.Random(0)
        texts = [" ".join(words.choices("red blue dog boat rain of with a".split(), k=8)) for _ in range(TEXTS)]  # noqa: SIM905
        pictures = [
            encoded(Image.fromarray(draw.integers(0, 256, (96, 128, 3), np.uint8)), "JPEG") for _ in range(PICTURES)
        ]
        items: list[Any] = [*texts]
        items += [{"image": base64.b64encode(data).decode()} for data in pictures]
        items += [{**item, "text": text} for item, text in zip(items[TEXTS:], texts, strict=False)]
        images = [load_image(data) for data in pictures]
        loaded: list[Any] = [*texts, *images]
        loaded += [{"image": image, "text": text} for image, text in zip(images, texts, strict=False)]
        wanted = model.encode(loaded, normalize_embeddings=True, show_progress_bar=False)
        self._asked = [
            ("/v1/embeddings", {"input": [item]}, vector_D) for item, vector_D in zip(items, wanted, strict=True)
        ]
        for text in texts if index is not None else []:
            scores = [hit.score for hit in index.search(text, limit=5)]
            self._asked.append(("/v1/search", {"text": text, "limit": 5}, np.asarray(scores)))

    @contextlib.contextmanager
    def asking(self, clients: int = 4) -> Iterator[Seen]:
        """Ask until the end of the block."""
        seen, stop = Seen(), threading.Event()
        threads = [threading.Thread(target=self._ask, args=(n, seen, stop)) for n in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield seen
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _ask(self, number: int, seen: Seen, stop: threading.Event) -> None:
        draw = random.Random(number)
        with httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=PATIENCE, trust_env=False) as client:
            while not stop.is_set():
                path, body, wanted = draw.choice(self._asked)
                start = time.monotonic()
                try:
                    response = self._post(client, path, body)
                except httpx.HTTPError as error:
                    seen.lost.append(repr(error))
                    continue
                if response.status_code != 200:
                    seen.lost.append(f"{response.status_code} {response.text[:100]}")
                    continue
                seen.seconds.append(time.monotonic() - start)
                answer = response.json()
                found = (
                    answer["data"][0]["embedding"] if "data" in answer else [hit["score"] for hit in answer["results"]]
                )
                if len(found) != len(wanted) or not np.allclose(found, wanted, atol=NEAR):
                    seen.wrong.append(f"{path}: {str(body)[:100]}")

    def _post(self, client: httpx.Client, path: str, body: dict[str, Any]) -> httpx.Response:
        """As a client's library does: a connection that was idle and is closed, and a full server, are tried again."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                response = client.post(path, json=body)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, httpx.ConnectError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
                continue
            if response.status_code not in (429, 503) or time.monotonic() > end:
                return response
            time.sleep(float(response.headers.get("retry-after", 1)))


class Watch:
    """The longest that ``/health/live`` took during a block, and the most memory of the server with its decoders."""

    def __init__(self, port: int, pid: int) -> None:
        self._url = f"http://127.0.0.1:{port}/health/live"
        self._process = psutil.Process(pid)
        self._end = threading.Event()
        self.worst = 0.0
        self.most = 0
        self.failed = 0

    def __enter__(self) -> "Watch":
        self._threads = [threading.Thread(target=loop) for loop in (self._health, self._memory)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def memory(self) -> int:
        """MiB at present."""
        total = 0
        for process in [self._process, *self._process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total >> 20

    def _health(self) -> None:
        while not self._end.is_set():
            start = time.monotonic()
            try:
                httpx.get(self._url, timeout=PATIENCE, trust_env=False).raise_for_status()
            except httpx.HTTPError:
                self.failed += 1
            self.worst = max(self.worst, time.monotonic() - start)
            self._end.wait(0.1)

    def _memory(self) -> None:
        while not self._end.wait(0.1):
            self.most = max(self.most, self.memory())
