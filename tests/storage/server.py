"""An S3 API server for the tests, moto's, that can be told to misbehave as a network or a busy service does.

moto looks whether an object is there and then writes it, in two steps, where S3 has one; so writes wait for one another
here. Everything else is as moto answers it.

To Google's client the same server speaks Google's dialect: its XML API is S3's but for conditional writes, which name
an object's generation. Azure's is Azurite, Microsoft's own (:mod:`tests.storage.azurite`).
"""

import atexit
import contextlib
import functools
import itertools
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote, unquote

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from tests.storage import azurite

Environment = dict[str, Any]
NUMBERS = itertools.count()
BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
AMAZONS = "AWS4-HMAC-SHA256 Credential=nobody/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
"""What moto asks for, and does not check."""
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@dataclass
class Fault:
    """What happens to requests.

    Args:
        kind: "busy" (503), "denied" (403), "slow", or "cut": half a body, and the connection ends.
        times: to so many of them.
        method: of these alone; empty is all.
        part: of the path and query of these alone.
        seconds: that a slow one waits.
        hit: how often it has happened.
    """

    kind: str
    times: int = 1 << 30
    method: str = ""
    part: str = ""
    seconds: float = 0.0
    hit: int = field(default=0, init=False)

    def takes(self, environment: Environment) -> bool:
        return (
            self.hit < self.times
            and self.method in ("", environment["REQUEST_METHOD"])
            and self.part in f"{environment['PATH_INFO']}?{environment.get('QUERY_STRING', '')}"
        )


class Server:
    """On a free port of the loopback, in a thread, until the process ends."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._one_write = threading.Lock()
        self._counting = threading.Lock()
        self._generations: dict[str, int] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.port}"

    def _answer(self, environment: Environment, start: Callable[..., Any]) -> Iterable[bytes]:
        method = environment["REQUEST_METHOD"]
        if not environment.get("HTTP_AUTHORIZATION", "").startswith("AWS"):
            environment["HTTP_AUTHORIZATION"] = AMAZONS
            path, mark, query = environment["RAW_URI"].partition("?")  # where Google's client writes - as %2D
            environment["RAW_URI"] = environment["REQUEST_URI"] = quote(unquote(path)) + mark + query
        with self._counting:
            self.requests.append((method, environment["PATH_INFO"]))
            fault = next((each for each in self.faults if each.takes(environment)), None)
            if fault is not None:
                fault.hit += 1
        kind = "" if fault is None else fault.kind
        if kind in ("busy", "denied"):
            environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
            body = BUSY if kind == "busy" else DENIED
            status = "503 Slow Down" if kind == "busy" else "403 Forbidden"
            start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body]
        if kind == "slow":
            assert fault is not None
            time.sleep(fault.seconds)
        if method in ("GET", "HEAD"):
            answer = self._moto(environment, self._with_generation(environment["PATH_INFO"], start))
        else:
            with self._one_write:
                answer = self._write(environment, start)
        return _half(answer) if kind == "cut" else answer

    def _write(self, environment: Environment, start: Callable[..., Any]) -> list[bytes]:
        path = environment["PATH_INFO"]
        asked = environment.get("HTTP_X_GOOG_IF_GENERATION_MATCH")
        if asked == "0":
            environment["HTTP_IF_NONE_MATCH"] = "*"
        elif asked is not None and int(asked) != self._generations.get(path):
            environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
            start("412 Precondition Failed", [("Content-Length", "0")])
            return [b""]
        self._generations[path] = next(NUMBERS) + 1
        return list(self._moto(environment, self._with_generation(path, start)))

    def _with_generation(self, path: str, start: Callable[..., Any]) -> Callable[..., Any]:
        def begin(status: str, headers: list[tuple[str, str]], *others: Any) -> Any:
            return start(status, [*headers, ("x-goog-generation", str(self._generations.get(path, 1)))], *others)

        return begin


def _half(answer: Iterable[bytes]) -> Iterator[bytes]:
    body = b"".join(answer)
    yield body[: len(body) // 2]
    raise ConnectionResetError("cut, as the test asked")


@functools.cache
def running() -> Server:
    """The server of this process."""
    return Server()


def variables(url: str) -> dict[str, str]:
    """What a user of that server has in the environment."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-tests",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@functools.cache
def _google_account(url: str) -> str:
    """A service account's file that asks for no token."""
    account = {"gcs_base_url": url, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump(account, file)
    atexit.register(Path(file.name).unlink, missing_ok=True)
    return file.name


def google_variables(url: str) -> dict[str, str]:
    """What a user of Google's client, and of that server, has in the environment."""
    return {"GOOGLE_BASE_URL": url, "GOOGLE_ALLOW_HTTP": "true", "GOOGLE_SERVICE_ACCOUNT": _google_account(url)}


@contextlib.contextmanager
def new_bucket(scheme: str = "s3") -> Iterator[str]:
    """Address of an empty bucket on a server of the tests, with its variables in the environment.

    Args:
        scheme: "s3", "gs" or "az"; the last skips the test where Azurite is not installed.
    """
    import boto3

    server = running()
    name = f"bucket-{os.getpid()}-{next(NUMBERS)}"
    if scheme == "az":
        set_now = azurite.variables()
    else:
        boto3.client(
            "s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        ).create_bucket(Bucket=name)
        set_now = variables(server.url) if scheme == "s3" else google_variables(server.url)
    with mock.patch.dict(os.environ, set_now):
        for other in [each for each in os.environ if each.startswith(("AWS_", "GOOGLE_", "AZURE_"))]:
            if other not in set_now:
                del os.environ[other]
        if scheme == "az":
            azurite.make_container(name)
        try:
            yield f"{scheme}://{name}"
        finally:
            server.faults.clear()
