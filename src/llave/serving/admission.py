"""How much the server holds at a time.

Items and tokens are claimed before the work, or the request is refused: a client should hear at once that the queue is
full. A quarter of it is for small requests: two with thousands of items do not shut out those with one. Decoded
pictures wait for their memory instead, so that many large pictures in one request pass one by one.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from llave.serving.errors import ApiError
from llave.serving.limits import Limits

__all__ = ["SMALL", "Admission", "Claim", "Memory"]

SMALL = 16
"""Items of a request that the reserve is for."""
RESERVE = 0.25


class Admission:
    """Counts what is held, in the event loop's thread."""

    def __init__(self, limits: Limits) -> None:
        self._most = {"items": limits.queue_items, "tokens": limits.queue_tokens}
        self.held = dict.fromkeys(self._most, 0)
        self._done = 0
        self._since = time.monotonic()

    @contextmanager
    def claim(self, items: int) -> Iterator["Claim"]:
        """Room for a request's items; all that was claimed is given back at the end.

        Raises:
            ApiError: 429, there is none.
        """
        claim = Claim(self, 1.0 if items <= SMALL else 1 - RESERVE)
        try:
            claim.add("items", items)
            yield claim
        finally:
            claim.release()

    def take(self, what: str, amount: int, own: int, share: float) -> None:
        """Count an amount beside what the request holds already, within a share of the queue."""
        if own + amount > self._most[what]:
            raise ApiError(413, f"more {what} in one request than the server holds ({self._most[what]:,}); send less")
        if self.held[what] > own and self.held[what] + amount > share * self._most[what]:
            raise ApiError(429, f"the server is full ({what}); try again later", retry_after=self._wait())
        self.held[what] += amount

    def give(self, amounts: dict[str, int]) -> None:
        """Count back."""
        for what, amount in amounts.items():
            self.held[what] -= amount
        self._done += amounts["items"]
        if time.monotonic() - self._since > 10:
            self._done, self._since = amounts["items"], time.monotonic() - 1

    def _wait(self) -> int:
        """Seconds in which half of what is held was done lately; between 1 and 30."""
        rate = self._done / max(time.monotonic() - self._since, 0.1)
        return min(max(math.ceil(self.held["items"] / 2 / rate), 1), 30) if rate else 1


class Claim:
    """What one request holds."""

    def __init__(self, admission: Admission, share: float) -> None:
        self._admission = admission
        self._share = share
        self._held = {"items": 0, "tokens": 0}

    def add(self, what: str, amount: int) -> None:
        """Claim more ``items`` or ``tokens``.

        Raises:
            ApiError: 429, the server is full; 413, it can never hold that much.
        """
        self._admission.take(what, amount, self._held[what], self._share)
        self._held[what] += amount

    def release(self) -> None:
        """Give everything back."""
        self._admission.give(self._held)
        self._held = dict.fromkeys(self._held, 0)


class Memory:
    """Bytes of decoded pictures and frames. Who finds none waits, first come first served.

    Args:
        most: bytes held at a time; a single picture may have all of them and no more.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.held = 0

    @asynccontextmanager
    async def hold(self, amount: int) -> AsyncIterator[None]:
        """Hold so many bytes for the block."""
        amount = min(amount, self._most)
        if self._waiting or self.held + amount > self._most:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append((amount, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._release(amount)
                else:
                    with suppress(ValueError):  # it was passed over already
                        self._waiting.remove((amount, turn))
                    self._next()
                raise
        else:
            self.held += amount
        try:
            yield
        finally:
            self._release(amount)

    def _release(self, amount: int) -> None:
        self.held -= amount
        self._next()

    def _next(self) -> None:
        while self._waiting and self.held + self._waiting[0][0] <= self._most:
            amount, turn = self._waiting.popleft()
            if not turn.done():  # else its request was ended, and it has not heard yet
                self.held += amount
                turn.set_result(None)
