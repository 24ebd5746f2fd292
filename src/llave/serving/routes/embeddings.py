"""``POST /v1/embeddings``: OpenAI's request with pictures and videos, as JSON or as an upload."""

import contextlib
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import Response

from llave.serving.embed import embed
from llave.serving.entries import Entry, of_openai
from llave.serving.errors import bad_request, first_problem
from llave.serving.exchange import ERRORS, answer, json_body, read_json, service_of, within
from llave.serving.schema import EmbeddingRequest
from llave.serving.service import Service
from llave.serving.vectors import base64_of, shorten

__all__ = ["EmbeddingResponse", "UploadRequest", "router"]

router = APIRouter()


class EmbeddingData(BaseModel):
    """One vector: numbers, or base64 of little-endian float32."""

    object: str
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens that the model saw, those of pictures among them."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingResponse(BaseModel):
    """OpenAI's answer."""

    object: str
    data: list[EmbeddingData]
    model: str
    usage: Usage


class UploadRequest(BaseModel):
    """A form: a picture or a video as a file, with a text; one vector. The other fields are those of the JSON."""

    model_config = ConfigDict(extra="allow")
    text: str | None = None
    image: Annotated[str | None, Field(json_schema_extra={"format": "binary"})] = None
    video: Annotated[str | None, Field(json_schema_extra={"format": "binary"})] = None
    model: str | None = None


@router.post(
    "/v1/embeddings",
    summary="Embed texts, pictures, videos, and texts with either",
    response_model=EmbeddingResponse,
    responses=ERRORS,
    openapi_extra=json_body(EmbeddingRequest, "UploadRequest"),
)
async def embeddings(request: Request) -> Response:
    """One vector for each item of ``input``, in their order."""
    service = service_of(request)
    engine, _ = service.model()
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        wanted, entries = await _read_upload(request, service)
    else:
        wanted = await read_json(request, EmbeddingRequest)
        entries = of_openai(wanted, engine.tokens, engine.prompt(wanted.input_type, wanted.instruction))
    engine.check_name(wanted.model)
    dimensions = engine.check_dimensions(wanted.dimensions, "dimensions")
    found = await within(request, embed(service, entries, truncate=wanted.truncate))
    data = _data(found.vectors, dimensions, wanted)
    usage = {"prompt_tokens": found.tokens, "total_tokens": found.tokens}
    return answer({"object": "list", "data": data, "model": engine.name, "usage": usage})


def _data(vectors: Sequence[NDArray[np.float32]], dimensions: int, wanted: EmbeddingRequest) -> list[dict[str, Any]]:
    shortened = [shorten(vector_D, dimensions, normalize=wanted.normalize) for vector_D in vectors]
    as_text = wanted.encoding_format == "base64"
    return [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64_of(vector_D) if as_text else vector_D.tolist(),
        }
        for index, vector_D in enumerate(shortened)
    ]


async def _read_upload(request: Request, service: Service) -> tuple[EmbeddingRequest, list[Entry]]:
    """The options of a form, and its one entry."""
    engine, _ = service.model()
    files: dict[str, bytes] = {}
    fields: dict[str, Any] = {}
    most = 4 * service.limits.text_characters
    async with contextlib.AsyncExitStack() as stack:
        try:
            form = await stack.enter_async_context(request.form(max_files=1, max_fields=20, max_part_size=most))
        except UnicodeError:  # a charset may name any codec of Python's
            raise bad_request("this form's charset does not fit its parts; send UTF-8", code="invalid_form") from None
        for name, value in form.multi_items():
            if name in fields or name in files:
                raise bad_request("given twice", name)
            if isinstance(value, UploadFile):
                if name not in {"image", "video"}:
                    raise bad_request("a file must be named image or video", name[:50])
                files[name] = await value.read()
            else:
                fields[name] = value
    text = fields.pop("text", "")
    for name in {"input", "messages", "modality", "image", "video"} & fields.keys():
        raise bad_request("not a field of a form; `image` and `video` are files here, and `text` is the text", name)
    for name in {"normalize", "truncate"} & fields.keys():
        fields[name] = {"true": True, "false": False}.get(fields[name], fields[name])
    if "dimensions" in fields and fields["dimensions"].isdecimal() and len(fields["dimensions"]) < 6:
        fields["dimensions"] = int(fields["dimensions"])
    try:
        wanted = EmbeddingRequest(input=text or "-", **fields)
    except (ValidationError, TypeError) as error:
        raise first_problem(error) if isinstance(error, ValidationError) else bad_request("bad form") from None
    prompt = engine.prompt(wanted.input_type, wanted.instruction)
    place = next(iter(files), "text")
    return wanted, [Entry(place, text, files.get("image"), files.get("video"), prompt)]
