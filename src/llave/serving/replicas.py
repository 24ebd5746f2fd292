"""Several processes with the same models: whichever is free takes the next batch, and one that ends starts again.

Each has one batch at a time, so a free one has the least to do; of several, the one that has been free the longest.
One that has a batch for longer than any request may take is killed: nobody waits for it any more, and nothing else ends
a forward pass. After an end it is started again, later each time that it does not last.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from llave.encode.item import Modality
from llave.errors import UserError
from llave.serving.lanes import Lanes, Run
from llave.serving.metrics import Metrics
from llave.serving.profile import AnyProfile
from llave.serving.replica import Replica

if TYPE_CHECKING:
    from llave.serving.app import AnyEngine

__all__ = ["Replicas"]

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds until one is started again; twice as many each time."""
LASTS = 60.0
"""Seconds after which an end is nothing but the first one again."""
log = logging.getLogger("llave.serving")


class Replicas:
    """The processes.

    Args:
        load: opens the models in the process of that number, from 0; sent to it by its name.
        count: of processes.
        seconds: of a batch at most.
    """

    def __init__(self, load: "Callable[[int], Sequence[AnyEngine]]", count: int, *, seconds: float) -> None:
        self.count = count
        self._load = load
        self._seconds = seconds
        self._ready: set[Replica] = set()
        self._idle: asyncio.Queue[Replica] = asyncio.Queue()
        self._known: asyncio.Future[Sequence[AnyProfile]] | None = None
        self._failed: set[int] = set()
        self._replicas: dict[int, Replica] = {}
        self._busy = 0
        self._metrics: Metrics | None = None
        self._threads = ThreadPoolExecutor(2 * count, thread_name_prefix="replica")  # one waits for its end, one asks

    @property
    def num_ready(self) -> int:
        """Processes that take batches."""
        return sum(not replica.ended for replica in self._ready)

    @property
    def num_idle(self) -> int:
        """Of those, the ones that have no batch."""
        return max(0, self.num_ready - self._busy)

    @property
    def pids(self) -> list[int]:
        """Of the processes that take batches, by their numbers."""
        return [replica.pid for replica in sorted(self._ready, key=lambda one: one.number) if not replica.ended]

    @asynccontextmanager
    async def running(self, metrics: Metrics) -> AsyncIterator[None]:
        """Have them until the end of the block."""
        self._metrics = metrics
        self._known = asyncio.get_running_loop().create_future()
        tasks = [asyncio.create_task(self._keep(number), name=f"replica {number}") for number in range(self.count)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for replica in self._replicas.values():
                replica.kill("the server stops")
            await asyncio.wait(tasks)
            self._threads.shutdown(wait=True)
            for replica in self._replicas.values():
                replica.close()

    async def profiles(self) -> Sequence[AnyProfile]:
        """What their models are, once the first of them is ready.

        Raises:
            UserError: none of them could load them.
        """
        assert self._known is not None
        return await self._known

    def lanes(self, place: int) -> Lanes[Any, Any]:
        """For the model at a place of :meth:`profiles`."""
        return _OfModel(self, place)

    async def take(self) -> Replica:
        """The next free one."""
        while (replica := await self._idle.get()).ended:
            pass
        self._busy += 1
        return replica

    def give(self, replica: Replica) -> None:
        """It is free again, or has ended."""
        self._busy -= 1
        if not replica.ended:
            self._idle.put_nowait(replica)

    async def run(
        self, replica: Replica, place: int, modality: Modality, prompt: str | None, inputs: list[Any]
    ) -> Sequence[Any]:
        """The results of a batch.

        Raises:
            ModelEnded: the process ended, or was ended after as many seconds as a batch may take.
        """
        assert self._metrics is not None
        loop, number, since = asyncio.get_running_loop(), str(replica.number), time.monotonic()
        why = f"its batch took more than {self._seconds:g} s"
        limit = loop.call_later(self._seconds, replica.kill, why)
        self._metrics.replica_items.labels(number).set(len(inputs))
        try:
            return await loop.run_in_executor(self._threads, replica.run, place, modality, prompt, inputs)
        finally:
            limit.cancel()
            self._metrics.replica_items.labels(number).set(0)
            self._metrics.replica_batches.labels(number).inc()
            self._metrics.replica_busy.labels(number).inc(time.monotonic() - since)

    async def _keep(self, number: int) -> None:
        """One process after the other."""
        pause = FIRST_PAUSE
        assert self._metrics is not None
        ends = self._metrics.replica_ends.labels(str(number))
        while True:
            since = time.monotonic()
            try:
                how = await self._live(number)
            except UserError as error:
                how = str(error)
                self._fail(number, error)
            ends.inc()
            pause = FIRST_PAUSE if time.monotonic() - since > LASTS else pause
            log.error("replica %d: %s; it starts again in %g s", number, how, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _live(self, number: int) -> str:
        """From the start of a process to its end, and how that came.

        Raises:
            UserError: it was not to be started or could not load the models.
        """
        loop = asyncio.get_running_loop()
        replica = self._replicas[number] = Replica(number, partial(self._load, number))
        ends = loop.run_in_executor(self._threads, replica.wait)
        try:
            self._accept(await loop.run_in_executor(self._threads, replica.loaded))
        except UserError:
            replica.kill()
            await ends
            replica.close()
            raise
        self._ready.add(replica)
        self._idle.put_nowait(replica)
        how = await ends
        self._ready.discard(replica)
        replica.close()
        return how

    def _accept(self, profiles: Sequence[AnyProfile]) -> None:
        """All have the same models, whatever has become of the files since the first one read them.

        Raises:
            UserError: these are others.
        """
        assert self._known is not None
        if not self._known.done():
            self._known.set_result(profiles)
        known = [(one.name, one.fingerprint) for one in self._known.result()]
        if [(one.name, one.fingerprint) for one in profiles] != known:
            raise UserError("the model's files are others than when the server was started; restart it to serve them")

    def _fail(self, number: int, error: UserError) -> None:
        """It is the server's error if it is everybody's."""
        assert self._known is not None
        self._failed.add(number)
        if len(self._failed) == self.count and not self._known.done():
            self._known.set_exception(error)


class _OfModel(Lanes[Any, Any]):
    def __init__(self, replicas: Replicas, place: int) -> None:
        self.count = replicas.count
        self._replicas = replicas
        self._place = place

    @property
    def idle(self) -> int:
        return self._replicas.num_idle

    @asynccontextmanager
    async def free(self) -> AsyncIterator[Run[Any, Any]]:
        replica = await self._replicas.take()
        try:
            yield partial(self._replicas.run, replica, self._place)
        finally:
            self._replicas.give(replica)
