"""``/v1/rerank``, ``/v2/rerank`` and ``/v1/score``: documents ranked for a query, as Jina, vLLM and Cohere answer."""

import math
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from llave.serving.answers import ListAnswer
from llave.serving.entries import Entry, of_rerank, of_score
from llave.serving.exchange import ERRORS, answer, json_body, read_json, service_of, within
from llave.serving.rerank import Scored, score
from llave.serving.routes.embeddings import Usage
from llave.serving.schema_rerank import RerankRequest, ScoreRequest
from llave.serving.service import ServedReranker, Service

__all__ = ["ranking", "router"]

router = APIRouter()
ROW_BYTES = 80
"""Of a result without its text."""
DOCUMENTS_PER_UNIT = 100
"""Of one of Cohere's search units."""


class RankedDocument(BaseModel):
    """The text of a document; null of one that has none. Pictures are not repeated."""

    text: str | None


class RankedResult(BaseModel):
    """A document's place in the request, and its score."""

    index: int
    relevance_score: float
    document: RankedDocument | None = None


class RerankResponse(BaseModel):
    """The best documents first; equal ones in the request's order."""

    id: str
    model: str
    usage: Usage
    results: list[RankedResult]


class CohereRerankResponse(BaseModel):
    """The same as Cohere has it."""

    id: str
    results: list[RankedResult]
    meta: dict[str, Any]


class PairScore(BaseModel):
    """A pair's score."""

    index: int
    object: Literal["score"]
    score: float


class ScoreResponse(BaseModel):
    """Scores in the order of the pairs."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[PairScore]
    usage: Usage


def ranking(scores: Sequence[float], top_n: int | None = None) -> list[int]:
    """Places of the best scores, the best first; equal ones in their order.

    Args:
        top_n: how many; None or 0 are all.
    """
    return sorted(range(len(scores)), key=lambda place: (-scores[place], place))[: top_n or None]


@router.post(
    "/v1/rerank",
    summary="Rank texts and pictures for a query",
    response_model=RerankResponse,
    responses=ERRORS,
    openapi_extra=json_body(RerankRequest),
)
@router.post(
    "/rerank",
    summary="The same as /v1/rerank",
    response_model=RerankResponse,
    responses=ERRORS,
    openapi_extra=json_body(RerankRequest),
)
async def rerank(request: Request) -> Response:
    """A score for each of ``documents``, the best first: Jina's and vLLM's form."""
    service = service_of(request)
    wanted, model, documents, found = await _ranked(request, service)
    about = {"id": f"rerank-{uuid.uuid4().hex}", "model": model.engine.name, "usage": _usage(found)}
    return _answer(about, service, wanted, documents, found, repeat=wanted.return_documents is not False)


@router.post(
    "/v2/rerank",
    summary="Cohere's form of the same",
    response_model=CohereRerankResponse,
    responses=ERRORS,
    openapi_extra=json_body(RerankRequest),
)
async def cohere_rerank(request: Request) -> Response:
    """A score for each of ``documents``, the best first; documents may be pictures besides texts."""
    service = service_of(request)
    wanted, _, documents, found = await _ranked(request, service)
    meta = {
        "api_version": {"version": "2"},
        "billed_units": {"search_units": math.ceil(len(documents) / DOCUMENTS_PER_UNIT)},
        "tokens": {"input_tokens": found.tokens},
    }
    about = {"id": uuid.uuid4().hex, "meta": meta}
    return _answer(about, service, wanted, documents, found, repeat=wanted.return_documents is True)


@router.post(
    "/score",
    summary="Scores of pairs, as vLLM has them",
    response_model=ScoreResponse,
    responses=ERRORS,
    openapi_extra=json_body(ScoreRequest),
)
@router.post(
    "/v1/score",
    summary="The same as /score",
    response_model=ScoreResponse,
    responses=ERRORS,
    openapi_extra=json_body(ScoreRequest),
)
async def scores(request: Request) -> Response:
    """One score for each pair, in their order."""
    service = service_of(request)

    def make(wanted: ScoreRequest) -> tuple[ScoreRequest, ServedReranker, list[Entry], list[Entry]]:
        return wanted, service.reranker(wanted.model), *of_score(wanted)

    wanted, model, first, second = await read_json(request, ScoreRequest, make)
    found = await within(request, score(service, model, first, second, truncate=wanted.truncate))
    data = [{"index": index, "object": "score", "score": value} for index, value in enumerate(found.scores)]
    about = {"id": f"score-{uuid.uuid4().hex}", "object": "list", "created": int(time.time())}
    return answer({**about, "model": model.engine.name, "data": data, "usage": _usage(found)})


async def _ranked(request: Request, service: Service) -> tuple[RerankRequest, ServedReranker, Sequence[Entry], Scored]:
    def make(wanted: RerankRequest) -> tuple[RerankRequest, ServedReranker, list[Entry], list[Entry]]:
        return wanted, service.reranker(wanted.model), *of_rerank(wanted)

    wanted, model, queries, documents = await read_json(request, RerankRequest, make)
    most = wanted.max_tokens_per_doc
    work = score(service, model, queries, documents, truncate=wanted.truncate, most_tokens=most)
    return wanted, model, documents, await within(request, work)


def _answer(
    about: dict[str, Any],
    service: Service,
    wanted: RerankRequest,
    documents: Sequence[Entry],
    found: Scored,
    *,
    repeat: bool,
) -> Response:
    order = ranking(found.scores, wanted.top_n)

    def rows() -> Iterator[dict[str, Any]]:
        for place in order:
            text = {"document": {"text": documents[place].text or None}} if repeat else {}
            yield {"index": place, "relevance_score": found.scores[place], **text}

    characters = sum(len(documents[place].text) for place in order) if repeat else 0
    row_bytes = ROW_BYTES + characters // len(order)
    return ListAnswer(
        about,
        "results",
        rows(),
        count=len(order),
        row_bytes=row_bytes,
        held=row_bytes * len(order),
        unread=service.unread,
    )


def _usage(found: Scored) -> dict[str, int]:
    return {"prompt_tokens": found.tokens, "total_tokens": found.tokens}
