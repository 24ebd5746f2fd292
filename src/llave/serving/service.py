"""What the routes share: the model once it is loaded, the queue, and whether the server takes requests."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from llave.encode.forward import Outcome
from llave.models.prompts import ModelInput
from llave.rerank.reranker import Pair, Score
from llave.serving.admission import Admission
from llave.serving.answers import Unread
from llave.serving.batcher import Batcher
from llave.serving.catalogue import Catalogue
from llave.serving.errors import ApiError
from llave.serving.limits import Limits
from llave.serving.media import Media
from llave.serving.metrics import Metrics
from llave.serving.profile import EmbedProfile, RerankProfile
from llave.serving.replicas import Replicas

__all__ = ["Served", "ServedReranker", "Service"]

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Served:
    """A model and its queue."""

    engine: EmbedProfile
    batcher: Batcher[ModelInput, Outcome]


@dataclass(frozen=True, slots=True)
class ServedReranker:
    """A reranker and its queue."""

    engine: RerankProfile
    batcher: Batcher[Pair, Score]


One = TypeVar("One", Served, ServedReranker)


@dataclass(slots=True, kw_only=True)
class Service:
    """One server.

    Args:
        models: that embed, once they are all loaded; the first one answers requests that name none.
        rerankers: likewise.
        beside: another index, to be compared with the catalogue's.
        replicas: processes that have the models; None where they are in this one.
        loaded: whether they are.
        in_flight: requests being answered, by the outermost gate.
        unread: answers on the way.
        threads: for long texts and large bodies, which the event loop does not wait for.
    """

    limits: Limits
    metrics: Metrics
    admission: Admission
    media: Media
    catalogue: Catalogue | None = None
    beside: Catalogue | None = None
    models: Sequence[Served] = ()
    rerankers: Sequence[ServedReranker] = ()
    replicas: Replicas | None = None
    loaded: bool = False
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
        searches = all(each.watched.is_there for each in self.catalogues)
        return self.loaded and self._runs and searches and not self.draining

    @property
    def catalogues(self) -> list[Catalogue]:
        """One, both, or none."""
        return [each for each in (self.catalogue, self.beside) if each is not None]

    def check_loaded(self) -> None:
        """Refuse what comes too early.

        Raises:
            ApiError: 503, not loaded yet, or all processes that had the model have ended.
        """
        if not self.loaded:
            raise ApiError(503, "the model is being loaded; try again soon", code="loading", retry_after=2)
        if not self._runs:
            raise ApiError(503, "the model's processes start again; try again soon", code="no_replica", retry_after=2)

    @property
    def _runs(self) -> bool:
        return self.replicas is None or self.replicas.num_ready > 0

    def model(self, name: str | None = None) -> Served:
        """The model of that name, for vectors.

        Raises:
            ApiError: 503, not loaded yet; 404, there is none.
        """
        self.check_loaded()
        if not self.models:
            message = "this server has rerankers alone, and no model that embeds; start it with llave serve MODEL"
            raise ApiError(404, message, code="no_model")
        return _named(name, self.models, self.rerankers, "a reranker; ask /v1/rerank")

    def reranker(self, name: str | None = None) -> ServedReranker:
        """The reranker of that name.

        Raises:
            ApiError: 503, not loaded yet; 404, there is none.
        """
        self.check_loaded()
        if not self.rerankers:
            message = "this server has no reranker; start it with llave serve --rerank"
            raise ApiError(404, message, code="no_reranker")
        return _named(name, self.rerankers, self.models, "no reranker; ask /v1/embeddings")


def _named(
    name: str | None, models: Sequence[One], others: Sequence[Served] | Sequence[ServedReranker], what: str
) -> One:
    """The model of that name, or the first one.

    Args:
        others: that are served for something else, which is ``what`` they are.
    """
    found = next((model for model in models if name is None or name in model.engine.names), None)
    if found is None:
        shown = (name or "")[:100] + ("…" if len(name or "") > 100 else "")
        served = ", ".join(repr(model.engine.name) for model in models)
        message = f"the model {shown!r} is not here, only {served}"
        if any(name in other.engine.names for other in others):
            message = f"the model {shown!r} is {what}, or name one of these: {served}"
        raise ApiError(404, message, param="model", code="model_not_found")
    return found
