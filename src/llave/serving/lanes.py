"""Where batches run: in one thread of this process, or in several processes (:mod:`llave.serving.replicas`)."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Generic, TypeVar

from llave.encode.item import Modality

__all__ = ["InThread", "Lanes", "ModelEnded", "Run", "Work"]

Given = TypeVar("Given")
Found = TypeVar("Found")
Work = Callable[[Modality, str | None, list[Given]], Sequence[Found]]
"""What a model makes of a batch: modality, prompt and inputs to results."""
Run = Callable[[Modality, str | None, list[Given]], Awaitable[Sequence[Found]]]
"""The same, to be waited for."""


class ModelEnded(Exception):
    """The process that ran a batch has ended, or was ended because the batch took too long."""


class Lanes(ABC, Generic[Given, Found]):
    """As many batches as there are lanes run at a time."""

    count: int

    @property
    def idle(self) -> int:
        """Lanes that nobody has taken."""
        return 0

    @abstractmethod
    def free(self) -> AbstractAsyncContextManager[Run[Given, Found]]:
        """The lane that has the least to do, for one batch; waits for it.

        What it yields raises ModelEnded, or what the model raises.
        """


class InThread(Lanes[Given, Found]):
    """One lane: a thread, which several models may share. They take turns there."""

    count = 1

    def __init__(self, work: Work[Given, Found], thread: ThreadPoolExecutor) -> None:
        self._work = work
        self._thread = thread

    @asynccontextmanager
    async def free(self) -> AsyncIterator[Run[Given, Found]]:
        yield self._run

    async def _run(self, modality: Modality, prompt: str | None, inputs: list[Given]) -> Sequence[Found]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, modality, prompt, inputs)
