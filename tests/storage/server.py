"""An S3 API server for the tests, moto's, that can be told to misbehave as a network or a busy service does.

moto looks whether an object is there and then writes it, in two steps, where S3 has one; so writes wait for one another
here. Everything else is as moto answers it.
"""

import contextlib
import functools
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

Environment = dict[str, Any]
NUMBERS = itertools.count()
BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
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
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.port}"

    def _answer(self, environment: Environment, start: Callable[..., Any]) -> Iterable[bytes]:
        method = environment["REQUEST_METHOD"]
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
            answer = self._moto(environment, start)
        else:
            with self._one_write:
                answer = list(self._moto(environment, start))
        return _half(answer) if kind == "cut" else answer


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


@contextlib.contextmanager
def new_bucket() -> Iterator[str]:
    """Address of an empty bucket on the server, with its variables in the environment."""
    import boto3

    server = running()
    others = {name for name in os.environ if name.startswith("AWS_")}
    with mock.patch.dict(os.environ, variables(server.url)):
        for name in others - variables("").keys():
            del os.environ[name]
        name = f"bucket-{os.getpid()}-{next(NUMBERS)}"
        boto3.client("s3", endpoint_url=server.url, region_name="us-east-1").create_bucket(Bucket=name)
        try:
            yield f"s3://{name}"
        finally:
            server.faults.clear()
