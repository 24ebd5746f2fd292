"""Bounds on a request's body while it arrives: its bytes, those of all bodies together, and its time."""

import asyncio
import contextlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llave.serving.errors import ApiError
from llave.serving.gates.log import DEADLINE
from llave.serving.limits import Limits

__all__ = ["BodyGate"]

DISCARD_SECONDS = 2.0
"""So long the rest of a refused body is read before the answer: a client that still sends would lose the answer to a
reset of the connection."""


class BodyGate:
    """Counts bytes as they come, so that a body without a length is bounded too."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(self, receive, self._limits, scope[DEADLINE])
        body.refused = _length(scope) > self._limits.body_bytes

        async def answer(message: Message) -> None:
            if body.refused:
                body.refused = False
                await _discard(receive)
            body.release()  # the route is done with it, however long its answer is on the way
            await send(message)

        try:
            if body.refused:
                await body.too_large().response()(scope, receive, answer)
            else:
                await self._app(scope, body.receive, answer)
        finally:
            body.release()

    def count(self, number: int) -> None:
        """More bytes are held.

        Raises:
            ApiError: 429, too many of all requests together.
        """
        if self._held + number > self._limits.bodies_bytes:
            raise ApiError(429, "the server is full (bodies of requests); try again later", retry_after=1)
        self._held += number

    def give(self, number: int) -> None:
        """They are not held any more."""
        self._held -= number


class _Body:
    """The body of one request."""

    def __init__(self, gate: BodyGate, receive: Receive, limits: Limits, deadline: float) -> None:
        self._gate = gate
        self._receive = receive
        self._limits = limits
        self._whole = False
        self._deadline = min(deadline, asyncio.get_running_loop().time() + limits.body_seconds)
        self._received = 0
        self._counted = 0
        self.refused = False

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise ApiError(408, "the body did not arrive in time; send it faster, or less") from None
        if message["type"] == "http.request":
            number = len(message.get("body", b""))
            self._received += number
            self._whole = not message.get("more_body", False)
            self.refused = not self._whole
            if self._received > self._limits.body_bytes:
                raise self.too_large()
            self._gate.count(number)
            self._counted += number
            self.refused = False
        return message

    def release(self) -> None:
        self._gate.give(self._counted)
        self._counted = 0

    def too_large(self) -> ApiError:
        return ApiError(413, f"a body of more than {self._limits.body_bytes:,} bytes, the limit; send less at a time")


def _length(scope: Scope) -> int:
    """The length that the head names, 0 if it names none."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)  # h11 has checked that it is a number
    return 0


async def _discard(receive: Receive) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            while (await receive()).get("more_body"):
                pass
