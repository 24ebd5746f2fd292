"""Items of all requests in one queue, and batches of like length for what runs the model.

There is no timer: a batch starts as soon as the model is free, with what is there. A lone request never waits, and
while the model works the queue fills by itself. The next batch has the item whose turn it is, and beside it those
nearest to its length, since a batch costs its items times its longest. Requests take turns by the tokens that they had
(start-time fair queueing, Goyal et al. 1996), so that a short one does not wait for a long one to end. Requests of many
pairs go on in the order in which they would end if each had its turn at every token: those of equal length end one
after the other, not all at last.

What an item is and what becomes of it is the model's matter: an input and its vector, or a pair and its score.

Where the model runs in several processes, as many batches are in work. Those of a process that ends are queued again,
each item alone (:mod:`llave.serving.suspects`).
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from llave.encode.item import Modality
from llave.serving.lanes import Lanes, ModelEnded, Run
from llave.serving.metrics import Metrics
from llave.serving.suspects import Lost, Suspects

__all__ = ["BatchPlan", "Batcher", "Line", "Prepared", "choose"]

Given = TypeVar("Given")
"""What the model takes."""
Found = TypeVar("Found")
"""What it makes of that, or why it makes nothing."""
LOOK_AHEAD = 64
"""Items, at least, among which a batch finds like lengths: those of the next requests, each whole. Among all of a long
queue every request would have an item in one of the last batches, and wait for it."""
log = logging.getLogger("llave.serving")


@dataclass(frozen=True, slots=True)
class Prepared(Generic[Given]):
    """An item whose media are decoded.

    Args:
        key: equal for items whose results are equal.
        modality: a batch holds one.
        tokens: estimated, at least 1.
        prompt: as ``SentenceTransformer.encode`` takes it; a batch has one. None is the model's default.
        num_bytes: of the decoded picture or frames; preparing them for the model takes several times as many.
    """

    key: Hashable
    modality: Modality
    model_input: Given
    tokens: int
    prompt: str | None = None
    num_bytes: int = 0


@dataclass(slots=True)
class Line:
    """The items of one request, in the order in which they queue.

    Args:
        end: where the last one ends, in tokens of the queue's clock.
    """

    end: int = 0


@dataclass(slots=True, eq=False)
class _Job(Generic[Given, Found]):
    item: Prepared[Given]
    done: "asyncio.Future[Found | Lost | None]"
    start: int
    """On the queue's clock."""
    turn: int
    """What the queue is in the order of."""
    line: Line
    """Of its request; of the first one that asked for it."""
    waiting: int = 0
    started: bool = False
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Bounds on a batch, and when padding is worth a batch of its own.

    Args:
        tokens: of a batch, padding included.
        items: of a batch, by modality.
        num_bytes: of a batch's decoded pictures.
        padding: tokens of padding that cost no more than another forward pass.
        padding_share: of a batch's own tokens, up to which padding is accepted besides.
    """

    tokens: int
    items: dict[Modality, int]
    num_bytes: int = 64 << 20
    padding: int = 64
    padding_share: float = 0.1


def choose(items: Sequence[Prepared[Any]], plan: BatchPlan, *, shares: int = 1) -> list[int]:
    """The places of the next batch. The first item's turn it is, and it is always in it.

    Args:
        shares: lanes that are free; each gets its part.
    """
    first = items[0]
    alike = [
        place for place, item in enumerate(items) if (item.modality, item.prompt) == (first.modality, first.prompt)
    ]
    alike.sort(key=lambda place: (abs(items[place].tokens - first.tokens), place))
    batch: list[int] = []
    longest = total = num_bytes = 0
    for place in alike[: min(plan.items[first.modality], math.ceil(len(alike) / shares))]:
        tokens = items[place].tokens
        longest_then, total_then = max(longest, tokens), total + tokens
        padded = longest_then * (len(batch) + 1)
        num_bytes += items[place].num_bytes
        if batch and (
            num_bytes > plan.num_bytes
            or padded > plan.tokens
            or padded - total_then > max(plan.padding, total_then * plan.padding_share)
        ):
            break
        batch.append(place)
        longest, total = longest_then, total_then
    return batch


class Batcher(Generic[Given, Found]):
    """The queue before a model.

    Args:
        lanes: where it runs.
        plan: bounds of a batch.
        unit: what follows the modality in the metrics: ``" pair"``.
        by_end: requests go on in the order of their ends. It is for those of many items: among requests of one item,
            the long ones would wait for every short one that comes.
    """

    def __init__(
        self,
        lanes: Lanes[Given, Found],
        plan: BatchPlan,
        metrics: Metrics,
        *,
        unit: str = "",
        by_end: bool = False,
    ) -> None:
        self._by_end = by_end
        self._lanes = lanes
        self._plan = plan
        self._metrics = metrics
        self.unit = unit
        self._jobs: dict[Hashable, _Job[Given, Found]] = {}
        self._queue: dict[_Job[Given, Found], None] = {}
        self._clock = 0
        self._work = asyncio.Event()
        self._suspects = Suspects()

    @property
    def waiting(self) -> int:
        """Items in the queue."""
        return len(self._queue)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take batches from the queue until the end of the block."""
        tasks = [asyncio.create_task(self._run(), name="batcher") for _ in range(self._lanes.count)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def results(self, items: Sequence[Prepared[Given]], line: Line) -> list[Found | Lost | None]:
        """What the model makes of each item, or None where it failed; equal ones pass it once.

        A caller that is cancelled leaves the queue, and what no one waits for does not reach the model.
        """
        turn = max(self._clock, line.end) + sum(item.tokens for item in items) if self._by_end else None
        jobs = [self._join(item, line, turn) for item in items]
        try:
            pending = {job.done for job in jobs if not job.done.done()}
            if pending:
                await asyncio.wait(pending)
            return [job.done.result() for job in jobs]
        finally:
            for job in jobs:
                self._leave(job)

    def _join(self, item: Prepared[Given], line: Line, end: int | None) -> _Job[Given, Found]:
        start = max(self._clock, line.end)
        turn = start if end is None else end
        line.end = start + item.tokens
        job = self._jobs.get(item.key)
        if job is None and (lost := self._suspects.refused(item.key)):
            job = _Job(item, asyncio.get_running_loop().create_future(), start, turn, line, started=True)
            job.done.set_result(lost)
        elif job is None:
            job = self._jobs[item.key] = _Job(item, asyncio.get_running_loop().create_future(), start, turn, line)
            self._queue[job] = None
            self._work.set()
        else:
            job.start, job.turn = min(job.start, start), min(job.turn, turn)
            self._metrics.deduplicated.inc()
        job.waiting += 1
        return job

    def _leave(self, job: _Job[Given, Found]) -> None:
        job.waiting -= 1
        if job.waiting == 0 and not job.started:
            self._queue.pop(job, None)
            self._jobs.pop(job.item.key, None)

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            if not self._queue:
                self._work.clear()
                continue
            async with self._lanes.free() as run:
                if self._queue:  # or another lane has taken all of it meanwhile
                    await self._batch(run)

    async def _batch(self, run: Run[Given, Found]) -> None:
        batch = self._next()
        modality, prompt = batch[0].item.modality, batch[0].item.prompt
        inputs = [job.item.model_input for job in batch]
        start = time.monotonic()
        try:
            found: Sequence[Found | None] = await run(modality, prompt, inputs)
        except ModelEnded as error:
            log.error("%d items, %s%s: %s", len(batch), modality, self.unit, error)
            self._queue_again(batch)
            return
        except Exception:  # one batch's failure must not end the server
            log.exception("a batch of %d failed: %s%s", len(batch), modality, self.unit)
            found = [None] * len(batch)
        self._metrics.batch(modality + self.unit, len(batch), time.monotonic() - start)
        for job, result in zip(batch, found, strict=True):
            self._jobs.pop(job.item.key, None)
            self._suspects.clear(job.item.key)
            job.done.set_result(result)

    def _queue_again(self, batch: Sequence[_Job[Given, Found]]) -> None:
        """Each has its turn still, and those that no one waits for are remembered all the same."""
        for job in batch:
            lost = self._suspects.add(job.item.key)
            if lost or not job.waiting:
                self._jobs.pop(job.item.key, None)
                job.done.set_result(lost)
            else:
                job.started = False
                self._queue[job] = None
        self._work.set()

    def _next(self) -> list[_Job[Given, Found]]:
        queue = sorted(self._queue, key=lambda job: job.turn)
        self._clock = max(self._clock, queue[0].start)
        if self._suspects:
            alone = queue[0].item.key in self._suspects
            queue = queue[:1] if alone else [job for job in queue if job.item.key not in self._suspects]
        near = _near(queue) if self._by_end else queue
        batch = [near[place] for place in choose([job.item for job in near], self._plan, shares=1 + self._lanes.idle)]
        now = time.monotonic()
        for job in batch:
            del self._queue[job]
            job.started = True
            self._metrics.waited.observe(now - job.since)
        return batch


def _near(queue: Sequence[_Job[Given, Found]]) -> list[_Job[Given, Found]]:
    """The jobs that the next batch is chosen from; the first one's turn it is."""
    first = queue[0].item
    alike = [job for job in queue if (job.item.modality, job.item.prompt) == (first.modality, first.prompt)]
    ends = (n for n in range(LOOK_AHEAD, len(alike)) if alike[n].line is not alike[n - 1].line)
    return alike[: next(ends, len(alike))]
