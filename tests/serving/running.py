"""A server on a real port, in a thread of the test's process."""

import io
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from fastapi import FastAPI
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.serving.app import AnyEngine, AppOptions, Load, create_app
from llave.serving.engine import Engine
from llave.serving.replicas import Replicas
from llave.serving.run import Server, listen, make_server


@dataclass(frozen=True)
class Running:
    """Where it is, and what tests look into."""

    url: str
    port: int
    app: FastAPI
    server: Server
    client: httpx.Client

    @property
    def engine(self) -> Engine:
        engine: Engine = self.app.state.service.models[0].engine
        return engine

    def embed(self, given: object, **options: object) -> httpx.Response:
        return self.client.post("/v1/embeddings", json={"input": given, **options})

    def vectors(self, given: object, **options: object) -> list[list[float]]:
        response = self.embed(given, **options)
        assert response.status_code == 200, response.text
        return [entry["embedding"] for entry in response.json()["data"]]


@contextmanager
def running(
    model: SentenceTransformer | Sequence[AnyEngine] | AnyEngine | Replicas,
    options: AppOptions | None = None,
    *,
    grace: float = 0.0,
    wait: bool = True,
) -> Iterator[Running]:
    """A server until the end of the block."""
    options = options or AppOptions()
    load: Load | Replicas
    if isinstance(model, Replicas):
        load = model
    elif isinstance(model, SentenceTransformer):
        engine = Engine(model, name="nano", aliases=["also/nano"])
        load = lambda: [engine]  # noqa: E731
    else:
        engines = [model] if isinstance(model, AnyEngine) else model
        load = lambda: engines  # noqa: E731
    app = create_app(load, options)
    server = make_server(app, options.limits, grace=grace)
    with listen("127.0.0.1", 0) as port:
        number = port.getsockname()[1]
        url = f"http://127.0.0.1:{number}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [port]}, daemon=True)
        thread.start()
        try:
            with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                while wait and client.get("/health/ready").status_code != 200:
                    time.sleep(0.02)
                yield Running(url, number, app, server, client)
        finally:
            server.should_exit = True
            thread.join(30)
    assert not thread.is_alive()


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def receive_all(connection: socket.socket) -> bytes:
    found = b""
    while part := connection.recv(1 << 16):
        found += part
    return found
