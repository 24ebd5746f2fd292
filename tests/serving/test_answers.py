"""Large answers: written as they are read, bounded in memory, ended when nobody reads them."""

import json
import socket
import time
from collections.abc import Callable

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from llave.serving.app import AppOptions
from llave.serving.limits import Limits
from llave.serving.service import Service
from tests.serving.running import Running, receive_all, running

WORDS = [f"word {number}" for number in range(2048)]


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def ask(server: Running, count: int) -> socket.socket:
    """A client that asks for vectors and reads nothing."""
    body = json.dumps({"input": WORDS[:count]}).encode()
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    head = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    return connection


def is_whole(connection: socket.socket) -> bool:
    """Whether what there is to read is a whole answer."""
    connection.settimeout(20)
    try:
        return receive_all(connection).endswith(b"0\r\n\r\n")
    except ConnectionResetError:
        return False


def service_of(server: Running) -> Service:
    service: Service = server.app.state.service
    return service


@pytest.mark.parametrize("form", ["float", "base64"])
@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 100])
def test_in_pieces_it_is_the_same(server: Running, count: int, form: str) -> None:
    response = server.embed(WORDS[:count] if count < 64 else [*WORDS[:32], *WORDS[:32]], encoding_format=form)
    found = response.json()
    assert list(found) == ["object", "model", "usage", "data"]
    assert [row["index"] for row in found["data"]] == list(range(len(found["data"])))
    whole = ("content-length" in response.headers, response.headers.get("transfer-encoding"))
    assert whole in ((True, None), (False, "chunked"))
    if form == "float":
        expected = server.engine.model.encode(WORDS[: min(count, 32)], normalize_embeddings=True, prompt="")
        assert np.allclose([row["embedding"] for row in found["data"]][: min(count, 32)], expected, atol=1e-5)


def test_who_does_not_read_is_ended(nano_untouched: SentenceTransformer) -> None:
    with running(nano_untouched, AppOptions(limits=Limits(unread_seconds=0.5))) as server:
        unread = service_of(server).unread
        with ask(server, 2048) as client:
            until(lambda: unread.held > 0)
            assert unread.held == 2048 * 384 * 4
            until(lambda: unread.held == 0)
            assert not is_whole(client)
        assert service_of(server).in_flight == 0


def test_the_oldest_answer_makes_room(nano_untouched: SentenceTransformer) -> None:
    """What all unread answers may hold is little more than one; who reads gets its answer all the same."""
    options = AppOptions(limits=Limits(unread_bytes=4 << 20, unread_seconds=600))
    with running(nano_untouched, options) as server, ask(server, 2048) as lazy:
        until(lambda: service_of(server).unread.held > 0)
        assert len(server.vectors(WORDS)) == 2048
        assert not is_whole(lazy)


def test_the_end_does_not_wait_for_readers(nano_untouched: SentenceTransformer) -> None:
    options = AppOptions(limits=Limits(unread_seconds=600))
    with running(nano_untouched, options) as server, ask(server, 2048):
        until(lambda: service_of(server).unread.held > 0)
        server.server._longest = 0.5  # the time of a request is over
        server.server.drain()
        until(lambda: server.server.should_exit)
