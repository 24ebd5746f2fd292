"""HTTP/1.1 from strangers: heads that never end, too many connections, requests that are no HTTP, unread answers.

uvicorn's own protocol waits for a head for ever, and keeps what a client does not read for ever. Here a connection has
some seconds for each head and to take what was written, and errors before the application have the application's form.
"""

import asyncio
import http
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from llave.serving.limits import MAX_HEAD, Limits

__all__ = ["BEGAN", "CONNECTION", "Connection", "protocol_class"]

BEGAN = "llave.began"
"""Where the scope keeps the time of the request's first byte, on the loop's clock."""
CONNECTION = "llave.connection"
"""Where the scope keeps the :class:`Connection`."""
PIECES, PIECE_BYTES = 1000, 64
"""A body may come in so many pieces, and one more for so many bytes: each costs as much as a small request."""


class Connection(H11Protocol):
    """uvicorn's protocol with limits."""

    limits: Limits
    silent: "dict[Connection, None]"
    """Those of the server that have asked for nothing yet, the oldest first: found at once, however many they are."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.conn = self._counting = _Counting(self.config.h11_max_incomplete_event_size)
        self.unread_since: float | None = None
        """When the client stopped reading; None while it reads."""
        self._head: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._began = 0.0
        """When the first byte came of the request that comes next."""
        self._seen = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that "paused" means: not everything is read
        self._seen = self._began = self.loop.time()
        self.silent[self] = None
        if len(self.connections) > self.limits.connections and not self._make_room():
            self._refuse(503, "too many connections; try again later", "too_many_connections")
        else:
            self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        before = self.scope
        self._seen = self.loop.time()
        if self._idle() and not self.conn.trailing_data[0]:
            self._began = self._seen
        super().data_received(data)
        if self.scope is not before:
            self._mark()
        if self.conn.their_state is h11.IDLE:
            self._wait_for_head()
        else:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        before = self.scope
        self._began = self.loop.time()
        super().on_response_complete()
        if self.scope is not before:  # the next request was here already
            self._mark()
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._wait_for_head()
        elif self.conn.their_state is h11.SEND_BODY:  # answered before its body came
            self.loop.call_later(self.limits.body_seconds, self._drop, self.cycle)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.unread_since = self.loop.time()
        self._stalled = self.loop.call_later(self.limits.unread_seconds, self.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.unread_since = None
        if self._stalled is not None:
            self._stalled.cancel()

    def abort(self) -> None:
        """End it at once, with what is written and not read."""
        self.transport.abort()

    def shutdown(self) -> None:
        """Called when the server ends; an answer that nobody reads ends with it."""
        super().shutdown()
        if self.unread_since is not None:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self.silent.pop(self, None)
        if self._stalled is not None:
            self._stalled.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.abort()  # half an answer is not followed by another
            return
        message = str(self._counting.problem or "this is not an HTTP/1.1 request, or its head is too long")
        self._refuse(400, message, "invalid_http")

    def _mark(self) -> None:
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope[BEGAN], scope[CONNECTION] = self._began, self
        self.silent.pop(self, None)

    def _idle(self) -> bool:
        """Whether no request is in work, nor its body on the way."""
        return self.conn.their_state is h11.IDLE and (self.cycle is None or self.cycle.response_complete)

    def _may_go(self) -> bool:
        return self._idle() and not self.transport.is_closing()

    def _make_room(self) -> bool:
        """End one that is idle: first those that never asked, the longest of them. Whether there was one."""
        oldest = next((other for other in self.silent if other is not self and other._may_go()), None)
        if oldest is None:
            others = [other for other in self.connections if isinstance(other, Connection) and other is not self]
            oldest = min(filter(Connection._may_go, others), key=lambda other: other._seen, default=None)
        if oldest is not None:
            oldest.abort()
            self.connections.discard(oldest)
            self.silent.pop(oldest, None)
        return oldest is not None

    def _wait_for_head(self) -> None:
        """Once per head: bytes that trickle in win no time."""
        if self._head is None:
            self._head = self.loop.call_later(self.limits.header_seconds, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _drop(self, cycle: object) -> None:
        if self.cycle is cycle and self.conn.their_state is h11.SEND_BODY:
            self.transport.close()

    def _too_slow(self) -> None:
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            message = f"the request's head did not arrive within {self.limits.header_seconds:g} s"
            self._refuse(408, message, "request_timeout")

    def _refuse(self, status: int, message: str, code: str) -> None:
        kind = {408: "timeout_error", 503: "overloaded_error"}.get(status, "invalid_request_error")
        body = json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()
        reason = http.HTTPStatus(status).phrase
        head = (
            f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


class _Counting(h11.Connection):
    """Refuses a body in crumbs."""

    def __init__(self, longest_head: int | None) -> None:
        super().__init__(h11.SERVER, longest_head or MAX_HEAD)
        self.problem: str | None = None
        self._pieces = 0

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = -PIECES
        elif isinstance(event, h11.Data):
            self._pieces = max(self._pieces + 1 - len(event.data) // PIECE_BYTES, -PIECES)
            if self._pieces > 0:
                self.problem = f"a body in more than {PIECES:,} pieces of few bytes; send larger ones"
                raise h11.RemoteProtocolError(self.problem)
        return event


def protocol_class(limits: Limits) -> type[Connection]:
    """The protocol with these limits."""
    return type("LimitedConnection", (Connection,), {"limits": limits, "silent": {}})
