"""The process: a port, uvicorn, and an end that loses no request.

On SIGTERM, SIGINT or SIGHUP the readiness check turns to 503 and new requests are refused with 503, while those being
answered go on. The port stays open for a grace period, so that a load balancer sees it; then the process ends with 0.
It ends in time whatever is in work: what is not done by then ends with it, and the exit code is 1.
"""

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI

from llave.errors import UserError
from llave.serving.limits import MAX_HEAD, Limits
from llave.serving.protocol import protocol_class
from llave.serving.service import Service

__all__ = ["Server", "listen", "make_server"]

CLOSING = 5.0
"""Seconds to close connections and threads after the last answer."""
BACKLOG, AT_ONCE = 4096, 64
"""Connections that wait to be taken, and how many are before others are looked at. The system drops more than wait, and
each of those tries again after a second."""
log = logging.getLogger("llave.serving")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, before anything slow is loaded.

    Raises:
        UserError: the port is taken, or the host is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named: asyncio sets TCP_NODELAY only then, and without it each answer waits 40 ms for an ACK.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        found.close()
        reason = error.strerror if isinstance(error, OSError) else "ports go from 0 to 65535"
        raise UserError(f"cannot listen on {host} port {port}: {reason}; choose another --port or --host") from None
    return found


class Server(uvicorn.Server):
    """uvicorn, drained before it ends."""

    def __init__(self, config: uvicorn.Config, service: Service, *, grace: float, longest: float) -> None:
        super().__init__(config)
        self._service = service
        self._grace = grace
        self._longest = longest
        self._since: float | None = None
        self._last: threading.Timer | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's, and SIGHUP, which a closed terminal sends; under nohup it stays ignored."""
        hangup = getattr(signal, "SIGHUP", None)
        if hangup is None or threading.current_thread() is not threading.main_thread():
            with super().capture_signals():
                yield
            return
        before = signal.getsignal(hangup)
        if before is not signal.SIG_IGN:
            signal.signal(hangup, self.handle_exit)
        try:
            with super().capture_signals():
                yield
        finally:
            signal.signal(hangup, before)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain; a second Ctrl-C ends at once. The signal is not raised again: this end was asked for, and is 0."""
        if self._service.draining and sig == signal.SIGINT:
            self.force_exit = self.should_exit = True
        self.drain()

    def drain(self) -> None:
        """Take no more requests, answer those that are here, then end."""
        if self._since is None:
            self._since = time.monotonic()
            self._service.draining = True
            self._last = threading.Timer(self._longest + CLOSING, _end_now)
            self._last.daemon = True
            self._last.start()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop."""
        try:
            super().run(sockets)
        finally:
            if self._last is not None:
                self._last.cancel()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn lets as many wait as asyncio takes at once."""
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        """Whether the loop ends."""
        if self._since is not None:
            lasted = time.monotonic() - self._since
            if (lasted >= self._grace and self._service.in_flight == 0) or lasted >= self._longest:
                self.should_exit = True
        return await super().on_tick(counter)


def make_server(app: FastAPI, limits: Limits, *, grace: float) -> Server:
    """A server for the application; ``server.run(sockets=[…])`` or ``await server.serve(sockets=[…])``."""
    config = uvicorn.Config(
        app,
        http=protocol_class(limits),
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=MAX_HEAD,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(CLOSING),
        backlog=AT_ONCE,
    )
    service: Service = app.state.service
    return Server(config, service, grace=grace, longest=limits.request_seconds + grace)


def _end_now() -> None:
    """Nothing else ends a thread that is in a library."""
    log.error("not everything ended in time; ended")
    os._exit(1)
