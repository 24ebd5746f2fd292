"""The application: gates, routes, and the model's life from loading to the last batch."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from llave._version import __version__
from llave.serving.admission import Admission
from llave.serving.allocator import KEPT, give_back_memory, resident_memory
from llave.serving.answers import AnswerGate
from llave.serving.batcher import Batcher
from llave.serving.catalogue import Catalogue
from llave.serving.engine import Engine
from llave.serving.errors import add_error_handlers
from llave.serving.exchange import ClientGone
from llave.serving.gates.auth import KeyGate, Keys
from llave.serving.gates.body import BodyGate
from llave.serving.gates.head import HeadGate
from llave.serving.gates.host import HostGate
from llave.serving.gates.log import GONE, LogGate
from llave.serving.gates.root import RootGate
from llave.serving.lanes import InThread, Lanes
from llave.serving.limits import Limits
from llave.serving.media import Media
from llave.serving.metrics import Metrics
from llave.serving.openapi import describe
from llave.serving.pages import PageHeaders, add_pages, page_files
from llave.serving.profile import AnyProfile, EmbedProfile
from llave.serving.remote import Remote
from llave.serving.replicas import Replicas
from llave.serving.rerank_engine import RerankEngine
from llave.serving.routes import cohere, embeddings, export, rerank, search, status
from llave.serving.service import Served, ServedReranker, Service

if TYPE_CHECKING:
    from llave.search.index import Index

__all__ = ["AnyEngine", "AppOptions", "create_app"]

AnyEngine = Engine | RerankEngine
Load = Callable[[], Sequence[AnyEngine]]
TIDY_SECONDS = 1.0
log = logging.getLogger("llave.serving")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppOptions:
    """What the server is made of besides its model.

    Args:
        num_frames: of a video.
        index: to search; None has no search.
        gallery: the HTML file of ``llave analyze``.
        keys: that are asked for; none are if there are none.
        hosts: names that the server goes by; None allows all.
        root_path: under which a proxy shows the server, e.g. ``/llave``.
        cors_origins: pages of other servers that may read answers in a browser.
        remote: fetches addresses; None refuses them.
        beside: another index of these items, made with another of the models.
    """

    limits: Limits = field(default_factory=Limits)
    num_frames: int = 8
    index: "Index | None" = None
    gallery: Path | None = None
    keys: Keys = field(default_factory=lambda: Keys(()))
    hosts: Sequence[str] | None = None
    root_path: str = ""
    cors_origins: Sequence[str] = ()
    remote: Remote | None = None
    beside: "Index | None" = None


def create_app(
    load: Load | Replicas,
    options: AppOptions,
    *,
    on_ready: Callable[[Sequence[AnyProfile]], None] = lambda profiles: None,
    on_failure: Callable[[BaseException], None] = lambda error: None,
) -> FastAPI:
    """The application.

    Args:
        load: opens the models and rerankers; runs in their thread while the server already answers its health checks.
            Or the processes that have them.
        on_ready: called when requests are taken.
        on_failure: called if the model does not load.
    """
    metrics, admission = Metrics(), Admission(options.limits)
    beside = None if options.beside is None else Catalogue(options.beside, number=2)
    service = Service(
        limits=options.limits,
        metrics=metrics,
        admission=admission,
        media=Media(options.limits, options.remote, options.num_frames),
        catalogue=None
        if options.index is None
        else Catalogue(options.index, gallery=options.gallery is not None, beside=beside),
        beside=beside,
        replicas=load if isinstance(load, Replicas) else None,
    )
    _watch(service)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            thread = ThreadPoolExecutor(1, thread_name_prefix="model")
            stack.callback(thread.shutdown, wait=True, cancel_futures=True)
            stack.callback(service.media.close)
            stack.callback(service.threads.shutdown, wait=False, cancel_futures=True)
            if options.remote is not None:
                stack.push_async_callback(options.remote.close)
            for catalogue in service.catalogues:
                await stack.enter_async_context(catalogue.open())
            if isinstance(load, Replicas):
                await stack.enter_async_context(load.running(metrics))
            loading = asyncio.create_task(_load(service, load, thread, stack, on_ready, on_failure))
            yield
            loading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loading

    app = FastAPI(
        title="llave",
        version=__version__,
        servers=[{"url": options.root_path or "/"}],
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # to where the Host header says, and past the root path
        lifespan=life,
    )
    app.state.service = service
    add_error_handlers(app)

    @app.exception_handler(ClientGone)
    async def _gone(request: Request, error: ClientGone) -> Response:
        return Response(status_code=GONE)

    for router in (embeddings.router, cohere.router, rerank.router, search.router, export.router, status.router):
        app.include_router(router)
    add_pages(app, options.gallery)
    describe(app)
    _add_gates(app, service, options)
    return app


async def _load(
    service: Service,
    load: Load | Replicas,
    thread: ThreadPoolExecutor,
    stack: AsyncExitStack,
    on_ready: Callable[[Sequence[AnyProfile]], None],
    on_failure: Callable[[BaseException], None],
) -> None:
    loop = asyncio.get_running_loop()
    profiles: Sequence[AnyProfile]
    lanes: list[Lanes[Any, Any]]
    try:
        if isinstance(load, Replicas):
            profiles = await load.profiles()
            lanes = [load.lanes(place) for place in range(len(profiles))]
        else:
            engines = await loop.run_in_executor(thread, load)
            profiles, lanes = engines, [InThread(engine.work, thread) for engine in engines]
        for catalogue in service.catalogues:
            await loop.run_in_executor(thread, _use_models, catalogue, profiles)
    except Exception as error:
        on_failure(error)
        return
    queues: list[Batcher[Any, Any]] = []
    models, rerankers = list[Served](), list[ServedReranker]()
    for profile, lane in zip(profiles, lanes, strict=True):
        plan = profile.plan(service.limits)
        if isinstance(profile, EmbedProfile):
            models.append(Served(profile, Batcher(lane, plan, service.metrics)))
            queues.append(models[-1].batcher)
        else:
            queue = Batcher[Any, Any](lane, plan, service.metrics, unit=" pair", by_end=True)
            rerankers.append(ServedReranker(profile, queue))
            queues.append(queue)
    service.models, service.rerankers = models, rerankers
    for queue in queues:
        await stack.enter_async_context(queue.running())
    service.metrics.watch(
        "llave_queue_items", "Items that wait for a model.", lambda: sum(queue.waiting for queue in queues)
    )
    service.loaded = True
    tidying = asyncio.create_task(_tidy(thread), name="tidy")
    stack.callback(tidying.cancel)
    on_ready(profiles)


def _use_models(catalogue: Catalogue, profiles: Sequence[AnyProfile]) -> None:
    catalogue.watched.use_models({one.name: one.made() for one in profiles if isinstance(one, EmbedProfile)})


async def _tidy(thread: ThreadPoolExecutor, *, seconds: float = TIDY_SECONDS, kept: int = KEPT) -> None:
    """Bound the freed memory that is kept; in the model's thread, between two batches, which share its lock."""
    least = resident_memory()
    while True:
        await asyncio.sleep(seconds)
        if resident_memory() > least + kept:
            least = await asyncio.get_running_loop().run_in_executor(thread, give_back_memory)


def _watch(service: Service) -> None:
    metrics, held = service.metrics, service.admission.held
    metrics.watch("llave_admitted_items", "Items of all requests, waiting or in work.", lambda: held["items"])
    metrics.watch("llave_admitted_tokens", "Their tokens, estimated.", lambda: held["tokens"])
    metrics.watch("llave_decoded_bytes", "Decoded pictures and frames.", lambda: service.media.held)
    metrics.watch("llave_unread_bytes", "Answers on their way.", lambda: service.unread.held)
    metrics.watch("llave_requests_in_flight", "Requests being answered.", lambda: service.in_flight)
    if service.replicas is not None:
        replicas = service.replicas
        metrics.watch("llave_replicas", "Model processes that there should be.", lambda: replicas.count)
        metrics.watch("llave_replicas_ready", "Model processes that take batches.", lambda: replicas.num_ready)
    metrics.watch("llave_ready", "1 if requests are taken.", lambda: float(service.is_ready))


def _add_gates(app: FastAPI, service: Service, options: AppOptions) -> None:
    """From the innermost to the outermost."""
    app.add_middleware(HeadGate)
    app.add_middleware(BodyGate, limits=options.limits)
    if options.keys:
        app.add_middleware(KeyGate, keys=options.keys, open_paths=status.OPEN | {"/", *page_files()})
    app.add_middleware(PageHeaders)
    if options.hosts is not None:
        app.add_middleware(HostGate, allowed=options.hosts, open_paths=status.OPEN)
    app.add_middleware(LogGate, service=service)
    if options.root_path:
        app.add_middleware(RootGate, root=options.root_path)
    if options.cors_origins:  # around the log, so that a script may read its errors too
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(options.cors_origins),
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["*"],  # x-stainless-… of OpenAI's client, our own, and those of tracers
            allow_private_network=True,  # the server of a user's own network, asked by a page that the user named
            expose_headers=["x-request-id", "retry-after"],
        )
    app.add_middleware(AnswerGate, unread=service.unread)
