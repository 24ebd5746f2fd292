"""Large answers: in pieces, of which one at a time waits for the client, and bounded in all that is not read yet."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llave.serving.protocol import CONNECTION, Connection

__all__ = ["AnswerGate", "ListAnswer", "Unread"]

PIECE = 1 << 16
PATIENCE = 2.0
"""Seconds that an answer has at least, however many others wait for its room."""


class Unread:
    """Bytes of answers that are not read yet. Where they are too many, the oldest answer's connection ends.

    Args:
        most: bytes at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._freed = asyncio.Event()
        self._answers: dict[Connection, tuple[float, int]] = {}

    @property
    def held(self) -> int:
        """Bytes at present."""
        return sum(size for _, size in self._answers.values())

    @asynccontextmanager
    async def hold(self, size: int, connection: Connection | None) -> AsyncIterator[None]:
        """Count an answer for the block, as soon as there is room."""
        if connection is None:  # not from a socket
            yield
            return
        size = min(size, self._most)
        while self._answers and self.held + size > self._most:
            self._freed.clear()
            self._end_oldest()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._freed.wait()
        self._answers[connection] = (time.monotonic(), size)
        try:
            yield
        finally:
            del self._answers[connection]
            self._freed.set()

    def _end_oldest(self) -> None:
        """Who reads takes far less than the patience for all that the others may hold."""
        oldest = min(self._answers, key=lambda connection: self._answers[connection][0])
        if time.monotonic() - self._answers[oldest][0] >= PATIENCE:
            oldest.abort()


class AnswerGate:
    """Sends what a route gives in one piece in several, each once the one before it is read."""

    def __init__(self, app: ASGIApp, unread: Unread) -> None:
        self._app = app
        self._unread = unread

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def pieces(message: Message) -> None:
            body = message.get("body", b"")
            if message["type"] != "http.response.body" or len(body) <= PIECE or message.get("more_body"):
                await send(message)
                return
            async with self._unread.hold(len(body), scope.get(CONNECTION)):
                for start in range(0, len(body), PIECE):
                    await _send(send, body[start : start + PIECE])
                await send({"type": "http.response.body"})

        await self._app(scope, receive, pieces if scope["type"] == "http" else send)


class ListAnswer(Response):
    """JSON of an object with one long list, written some rows at a time while it is read: text takes several times the
    memory of the numbers, and the time to write it is the other clients', too.

    Args:
        about: the object without the list.
        name: of the list.
        rows: which are turned to JSON; ``count`` of them.
        row_bytes: of the JSON of a row, about.
        held: bytes that the rows take until the end.
    """

    media_type = "application/json"

    def __init__(
        self,
        about: dict[str, Any],
        name: str,
        rows: Iterator[Any],
        *,
        count: int,
        row_bytes: int,
        held: int,
        unread: Unread,
    ) -> None:
        self._at_once = max(1, PIECE // row_bytes)
        self._ends = to_json({**about, name: []}).rsplit(b"[]", 1)
        self._rows = rows
        self._in_pieces = count > self._at_once
        super().__init__(b"" if self._in_pieces else to_json(list(rows)).join(self._ends))
        if self._in_pieces:
            del self.headers["content-length"]
        self._held = held
        self._unread = unread

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._in_pieces:
            await super().__call__(scope, receive, send)
            return
        async with self._unread.hold(self._held, scope.get(CONNECTION)):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            before = self._ends[0] + b"["
            while rows := list(islice(self._rows, self._at_once)):
                await _send(send, before + to_json(rows)[1:-1])
                before = b","
            await send({"type": "http.response.body", "body": b"]" + self._ends[1]})


async def _send(send: Send, piece: bytes) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": True})
    await asyncio.sleep(0)  # a socket with room lets no one else pass
