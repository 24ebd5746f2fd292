"""What arrives is not always a request: too much, too slow, too deep, too many, or no HTTP at all."""

import gzip
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sentence_transformers import SentenceTransformer

from llave.serving.app import AppOptions
from llave.serving.gates.body import BodyGate
from llave.serving.limits import Limits
from tests.serving.running import Running, connect, receive_all, running

LIMITS = Limits(body_bytes=1 << 20, body_seconds=1.0, header_seconds=1.0, connections=20, request_seconds=20.0)
HEAD = b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


@pytest.fixture(scope="module")
def server(nano_untouched: SentenceTransformer) -> Iterator[Running]:
    with running(nano_untouched, AppOptions(limits=LIMITS)) as found:
        yield found


def parsed(answer: bytes) -> tuple[int, dict[str, Any]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return int(head.split()[1]), error


def raw(server: Running, *parts: bytes) -> tuple[int, dict[str, Any]]:
    with connect(server.port) as connection:
        for part in parts:
            connection.sendall(part)
        return parsed(receive_all(connection))


def test_a_length_that_is_too_much(server: Running) -> None:
    status, error = raw(server, HEAD + b"content-length: 2000000\r\nconnection: close\r\n\r\n", b"x" * 2_000_000)
    assert (status, error["code"]) == (413, "request_too_large")


def test_chunks_without_a_length_are_counted(server: Running) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    status, error = raw(
        server, HEAD + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n", *[chunk] * 40, b"0\r\n\r\n"
    )
    assert (status, error["code"]) == (413, "request_too_large")
    assert server.vectors("still here")


def test_an_upload_that_is_too_much(server: Running) -> None:
    response = server.client.post("/v1/embeddings", files={"image": ("a.png", b"x" * (2 << 20))})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("charset", ["unicode_escape", "punycode", "idna", "utf-16", "undefined", "hex", "no-such"])
def test_a_form_in_a_charset_of_pythons_own(server: Running, charset: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="te\\Nxt\xff"\r\n\r\na\\xzz-\xff\r\n--x--\r\n'
    kind = f"multipart/form-data; boundary=x; charset={charset}"
    response = server.client.post("/v1/embeddings", content=body, headers={"content-type": kind})
    assert response.status_code == 400, response.text


def body_gate(server: Running) -> BodyGate:
    layer: Any = server.app.middleware_stack
    while not isinstance(layer, BodyGate):
        layer = layer.app if hasattr(layer, "app") else layer._app
    return layer


def test_all_bodies_together(nano_untouched: SentenceTransformer) -> None:
    limits = Limits(body_bytes=1 << 20, bodies_bytes=1 << 20)
    with running(nano_untouched, AppOptions(limits=limits)) as small:
        body = json.dumps({"input": "x"}).encode() + b" " * 700_000
        with connect(small.port) as first:
            first.sendall(HEAD + b"content-length: %d\r\n\r\n" % (len(body) + 1) + body)
            gate = body_gate(small)
            while gate._held < len(body):  # until it is read but for its last byte
                time.sleep(0.01)
            response = small.client.post("/v1/embeddings", content=body, headers={"content-type": "application/json"})
            assert (response.status_code, response.headers["retry-after"]) == (429, "1")
            first.sendall(b" ")
            assert first.recv(12).endswith(b"200")


def test_a_body_in_crumbs(server: Running) -> None:
    """Chunks of a byte cost a thousand times what they bring. Few small ones, and many large ones, are in order."""
    chunked = HEAD + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    status, error = raw(server, chunked, b"1\r\nx\r\n" * 20_000)
    assert (status, error["code"]) == (400, "invalid_http")
    assert "send larger ones" in error["message"]
    for size, text in ((1, "x" * 500), (80, "y" * 900_000)):
        body = json.dumps({"input": "a", "user": None, "instruction": text[:9000]}).encode().ljust(len(text))
        parts = [body[start : start + size] for start in range(0, len(body), size)]
        with connect(server.port) as connection:
            connection.sendall(chunked + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n")
            assert receive_all(connection).startswith(b"HTTP/1.1 200")


def test_a_packed_body_is_refused(server: Running) -> None:
    body = gzip.compress(json.dumps({"input": "a"}).encode())
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    response = server.client.post("/v1/embeddings", content=body, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_media_type")
    assert server.client.get("/health/live", headers={"content-encoding": "identity"}).status_code == 200


def test_the_time_of_a_request_begins_with_its_first_byte(nano_untouched: SentenceTransformer) -> None:
    limits = Limits(request_seconds=1.0, body_seconds=20.0, header_seconds=20.0)
    with running(nano_untouched, AppOptions(limits=limits)) as server, connect(server.port) as connection:
        connection.sendall(HEAD[:10])
        time.sleep(0.6)
        connection.sendall(HEAD[10:] + b"content-length: 100\r\n\r\n{")
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")


def test_a_body_that_does_not_come(server: Running) -> None:
    status, error = raw(server, HEAD + b"content-length: 100\r\nconnection: close\r\n\r\n{")
    assert (status, error["code"]) == (408, "request_timeout")


def test_a_head_that_does_not_come(server: Running) -> None:
    """Slowloris: a line of the head now and then, for ever."""
    with connect(server.port) as connection:
        connection.settimeout(10)
        connection.sendall(HEAD)
        answer = b""
        try:
            for number in range(100):
                connection.sendall(b"x-%d: y\r\n" % number)
                time.sleep(0.1)
        except OSError:  # it was closed
            pass
        try:
            answer = receive_all(connection)
        except ConnectionResetError:
            return
        if answer:
            assert parsed(answer)[0] == 408
    assert number < 60


def test_a_second_head_that_does_not_come(server: Running) -> None:
    with connect(server.port) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\nGET /he")
        answer = receive_all(connection)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in answer


@pytest.mark.parametrize(
    ("head", "statuses"),
    [
        (b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 40_000, {400, 431}),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nhost: localhost", {400, 431}),
        (b"GET / HTTP/1.1" + b"".join(b"\r\nx-%d: y" % number for number in range(5000)), {400, 431}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello", {400}),
        (b"GET / HTTP/1.1", {400}),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked", {400}),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1", {400}),
        (b"GET / HTTP/1.1\r\nhost : a", {400}),
    ],
)
def test_heads_that_are_none(server: Running, head: bytes, statuses: set[int]) -> None:
    with connect(server.port) as connection:
        try:
            connection.sendall(head + b"\r\nconnection: close\r\n\r\n")
            answer = receive_all(connection)
        except (ConnectionResetError, BrokenPipeError):
            answer = b""  # closed while we were still sending
    if answer:
        assert parsed(answer)[0] in statuses
    assert server.client.get("/health/live").status_code == 200


def test_an_answer_before_its_body(server: Running) -> None:
    """A body that is not wanted keeps no connection open."""
    with connect(server.port) as connection:
        connection.sendall(b"PUT /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n")
        answer = b""
        try:
            while part := connection.recv(1 << 16):
                answer += part
                connection.sendall(b"x")
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert answer.startswith(b"HTTP/1.1 405")


def test_too_many_connections(server: Running) -> None:
    """Those that are idle make room; who is in the middle of a request keeps its place, and then there is none."""
    kept = [connect(server.port) for _ in range(30)]
    try:
        assert server.vectors("one more finds room")
        answers = []
        while server.app.state.service.in_flight < LIMITS.connections:  # one that has said nothing yet may go, too
            kept.append(connect(server.port))
            kept[-1].sendall(HEAD + b"content-length: 9\r\n\r\n")
            time.sleep(0.01)
        kept += [connect(server.port) for _ in range(5)]
        for connection in kept:
            connection.settimeout(0.3)
            try:
                answers.append(connection.recv(1000))
            except (TimeoutError, ConnectionResetError):
                continue
        assert any(answer.startswith(b"HTTP/1.1 503") for answer in answers)
    finally:
        for connection in kept:
            connection.close()
    while True:  # until the server has seen that they are closed
        try:
            response = server.embed("still here")
        except httpx.TransportError:
            continue
        if response.status_code == 200:
            break
        assert response.status_code == 503


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"input": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "invalid_json"),
        (b'{"input": ' + b'{"text": ' * 30_000, "invalid_json"),
        (b'{"input": "a"', "invalid_json"),
        (b"", "invalid_json"),
        (b'{"input": "\\ud800"}', "invalid_json"),
        (b'{"input": "\xff\xfe"}', "invalid_json"),
        (b'{"input": "a", "dimensions": NaN}', "invalid_request"),
        (b'{"input": "a", "dimensions": 1e999}', "invalid_request"),
        (b'{"input": [' + b"1" * 5000 + b"]}", "invalid_json"),
        (b"[]", "invalid_request"),
        (b'"a"', "invalid_request"),
        (b"null", "invalid_request"),
    ],
)
def test_bodies_that_are_no_request(server: Running, body: bytes, code: str) -> None:
    response = server.client.post("/v1/embeddings", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"] == code


def test_other_types_methods_and_routes(server: Running) -> None:
    plain = server.client.post("/v1/embeddings", content=b"{}", headers={"content-type": "text/plain"})
    assert (plain.status_code, plain.json()["error"]["code"]) == (415, "unsupported_media_type")
    broken = server.client.post("/v1/embeddings", content=b"x", headers={"content-type": "multipart/form-data"})
    assert (broken.status_code, broken.json()["error"]["type"]) == (400, "invalid_request_error")
    method = server.client.put("/v1/embeddings")
    assert (method.status_code, method.json()["error"]["code"]) == (405, "method_not_allowed")
    assert method.headers["allow"] == "POST"
    for path in ("/v1/nothing", "/v1/embeddings/x", "/docs", "/redoc"):
        response = server.client.get(path)
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
