"""Whether the server lives and takes requests, what it serves, and its counters."""

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from llave.serving.errors import ApiError
from llave.serving.exchange import ERRORS, answer, service_of
from llave.serving.profile import AnyProfile, EmbedProfile

__all__ = ["OPEN", "router"]

router = APIRouter()
OPEN = frozenset({"/health/live", "/health/ready"})
"""Paths that need no key, and no name of ours in the Host header: a load balancer asks them."""


class Health(BaseModel):
    """The server lives, or is ready; with ``--replicas``, how many model processes are."""

    status: str
    replicas: int | None = None
    replicas_ready: int | None = None


class ModelCard(BaseModel):
    """A model and its task. ``dimensions`` are the lengths that its vectors may be cut to; a reranker has none."""

    id: str
    object: str
    created: int
    owned_by: str
    task: Literal["embed", "rerank"]
    dimension: int | None
    dimensions: list[int]
    modalities: list[str]
    max_tokens: int | None


class ModelList(BaseModel):
    """OpenAI's list."""

    object: str
    data: list[ModelCard]


@router.get("/health/live", summary="The process answers", response_model=Health)
async def live() -> Response:
    """200 as long as the process answers."""
    return answer({"status": "live"})


@router.get("/health/ready", summary="The model is loaded and takes requests", response_model=Health, responses=ERRORS)
async def ready(request: Request) -> Response:
    """503 while the model is being loaded or no process has it, and from the moment the server is told to stop."""
    service = service_of(request)
    if service.draining:
        raise ApiError(503, "the server is stopping", code="draining", retry_after=1)
    service.check_loaded()
    for catalogue in service.catalogues:
        _ = catalogue.watched.index  # a 503, as a search would get
    replicas = service.replicas
    counts = {} if replicas is None else {"replicas": replicas.count, "replicas_ready": replicas.num_ready}
    return answer({"status": "ready", **counts})


@router.get("/v1/models", summary="What is served", response_model=ModelList, responses=ERRORS)
async def models(request: Request) -> Response:
    """The models, then the rerankers, with what they take; the first of each answers requests that name none."""
    service = service_of(request)
    service.check_loaded()
    cards = [_card(one.engine) for one in service.models] + [_card(one.engine) for one in service.rerankers]
    return answer({"object": "list", "data": cards})


@router.get("/v1/models/{name:path}", summary="One model", response_model=ModelCard, responses=ERRORS)
async def model(request: Request, name: str) -> Response:
    """The model or reranker, by its name."""
    service = service_of(request)
    reranker = next((one for one in service.rerankers if name in one.engine.names), None)
    return answer(_card((reranker or service.model(name)).engine))


@router.get("/metrics", summary="Counters for Prometheus", response_class=Response, responses=ERRORS)
async def metrics(request: Request) -> Response:
    """Text format 0.0.4."""
    page = service_of(request).metrics.page()
    return Response(page, headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})


def _card(engine: AnyProfile) -> dict[str, Any]:
    return {
        "id": engine.name,
        "object": "model",
        "created": 0,
        "owned_by": "llave",
        "task": "embed" if isinstance(engine, EmbedProfile) else "rerank",
        "dimension": engine.dimension if isinstance(engine, EmbedProfile) else None,
        "dimensions": engine.dimensions if isinstance(engine, EmbedProfile) else [],
        "modalities": engine.modalities,
        "max_tokens": engine.tokens.longest,
    }
