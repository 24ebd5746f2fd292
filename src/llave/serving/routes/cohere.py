"""``POST /v2/embed``: Cohere's request."""

import uuid
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from llave.serving.embed import embed
from llave.serving.entries import of_cohere
from llave.serving.exchange import ERRORS, answer, json_body, read_json, service_of, within
from llave.serving.schema import CohereRequest
from llave.serving.vectors import as_type, shorten

__all__ = ["CohereResponse", "router"]

router = APIRouter()
INPUT_TYPES = {"search_query": "query", "search_document": "document"}


class CohereResponse(BaseModel):
    """Vectors by type."""

    model_config = ConfigDict(extra="allow")
    id: str
    response_type: str
    embeddings: dict[str, list[Any]]
    texts: list[str]
    meta: dict[str, Any]


@router.post(
    "/v2/embed",
    summary="Cohere's form of the same",
    response_model=CohereResponse,
    responses=ERRORS,
    openapi_extra=json_body(CohereRequest),
)
async def cohere_embed(request: Request) -> Response:
    """One vector for each of ``texts``, ``images`` or ``inputs``, in each of the types asked for."""
    service = service_of(request)
    wanted = await read_json(request, CohereRequest, lambda body: body)
    model = service.model(wanted.model)
    dimensions = model.engine.check_dimensions(wanted.output_dimension, "output_dimension")
    entries = of_cohere(wanted, model.engine.prompt(INPUT_TYPES.get(wanted.input_type), None))
    found = await within(request, embed(service, model, entries, truncate=wanted.truncate != "NONE"))
    shortened = [shorten(vector_D, dimensions) for vector_D in found.vectors]
    content = {
        "id": uuid.uuid4().hex,
        "response_type": "embeddings_by_type",
        "embeddings": {
            kind: [as_type(vector_D, kind) for vector_D in shortened] for kind in dict.fromkeys(wanted.embedding_types)
        },
        "texts": wanted.texts or [],
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {
                "input_tokens": found.tokens,
                "images": sum(entry.image is not None for entry in entries),
            },
        },
    }
    return answer(content)
