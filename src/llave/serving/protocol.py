"""HTTP/1.1 from strangers: a head that never ends, too many connections, and requests that are no HTTP.

uvicorn's own protocol waits for a head for ever. Here a connection has some seconds for each head, and errors before
the application have the application's form.
"""

import asyncio
import http
import json

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from llave.serving.limits import Limits

__all__ = ["protocol_class"]


def protocol_class(limits: Limits) -> type[H11Protocol]:
    """uvicorn's protocol with limits."""

    class Guarded(H11Protocol):
        _head: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                self._refuse(503, "too many connections; try again later", "too_many_connections")
            else:
                self._wait_for_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is h11.IDLE:
                self._wait_for_head()
            else:
                self._stop_waiting()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
                self._wait_for_head()
            elif self.conn.their_state is h11.SEND_BODY:  # answered before its body came
                self.loop.call_later(limits.body_seconds, self._drop, self.cycle)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            self._refuse(400, "this is not an HTTP/1.1 request, or its head is too long", "invalid_http")

        def _wait_for_head(self) -> None:
            """Once per head: bytes that trickle in win no time."""
            if self._head is None:
                self._head = self.loop.call_later(limits.header_seconds, self._too_slow)

        def _stop_waiting(self) -> None:
            if self._head is not None:
                self._head.cancel()
                self._head = None

        def _drop(self, cycle: object) -> None:
            if self.cycle is cycle and self.conn.their_state is h11.SEND_BODY:
                self.transport.close()

        def _too_slow(self) -> None:
            if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
                message = f"the request's head did not arrive within {limits.header_seconds:g} s"
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

    return Guarded
