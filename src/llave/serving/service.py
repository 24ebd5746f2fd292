"""What the routes share: the model once it is loaded, the queue, and whether the server takes requests."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from llave.serving.admission import Admission
from llave.serving.answers import Unread
from llave.serving.batcher import Batcher
from llave.serving.catalogue import Catalogue
from llave.serving.engine import Engine
from llave.serving.errors import ApiError
from llave.serving.limits import Limits
from llave.serving.media import Media
from llave.serving.metrics import Metrics

__all__ = ["Served", "Service"]

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Served:
    """A model and its queue."""

    engine: Engine
    batcher: Batcher


@dataclass(slots=True, kw_only=True)
class Service:
    """One server.

    Args:
        models: once they are all loaded; the first one answers requests that name none.
        in_flight: requests being answered, by the outermost gate.
        unread: answers on the way.
        threads: for long texts and large bodies, which the event loop does not wait for.
    """

    limits: Limits
    metrics: Metrics
    admission: Admission
    media: Media
    catalogue: Catalogue | None = None
    models: Sequence[Served] = ()
    draining: bool = False
    in_flight: int = 0
    unread: Unread = field(init=False)
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, thread_name_prefix="words"))

    def __post_init__(self) -> None:
        self.unread = Unread(self.limits.unread_bytes)

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """Run beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)

    @property
    def is_ready(self) -> bool:
        """Whether requests are taken."""
        searches = self.catalogue is None or self.catalogue.watched.is_there
        return bool(self.models) and searches and not self.draining

    def model(self, name: str | None = None) -> Served:
        """The model of that name.

        Raises:
            ApiError: 503, not loaded yet; 404, there is none.
        """
        if not self.models:
            raise ApiError(503, "the model is being loaded; try again soon", code="loading", retry_after=2)
        found = next((model for model in self.models if name is None or name in model.engine.names), None)
        if found is None:
            shown = (name or "")[:100] + ("…" if len(name or "") > 100 else "")
            served = ", ".join(repr(model.engine.name) for model in self.models)
            message = f"the model {shown!r} is not here, only {served}"
            raise ApiError(404, message, param="model", code="model_not_found")
        return found

    def searching(self) -> Served:
        """The model that the index was made with.

        Raises:
            ApiError: 503, not loaded yet.
        """
        return self.model(None if self.catalogue is None else self.catalogue.watched.model)
