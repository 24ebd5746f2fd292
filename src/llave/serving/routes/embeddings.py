"""``POST /v1/embeddings``: OpenAI's request with pictures, videos and sounds, as JSON or as an upload."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import Response

from llave.encode.forward import Vector
from llave.serving.answers import ListAnswer
from llave.serving.embed import embed
from llave.serving.entries import Entry, of_openai
from llave.serving.errors import bad_request, first_problem
from llave.serving.exchange import ERRORS, json_body, read_json, service_of, within
from llave.serving.schema import EmbeddingRequest
from llave.serving.service import Served, Service
from llave.serving.vectors import base64_of, shorten

__all__ = ["EmbeddingResponse", "UploadRequest", "router"]

router = APIRouter()
NUMBER_BYTES = 20
"""Of a number in JSON."""


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
    """A form: a picture, video or sound as a file, with a text; one vector. The other fields are those of the JSON."""

    model_config = ConfigDict(extra="allow")
    text: str | None = None
    image: Annotated[str | None, Field(json_schema_extra={"format": "binary"})] = None
    video: Annotated[str | None, Field(json_schema_extra={"format": "binary"})] = None
    audio: Annotated[str | None, Field(json_schema_extra={"format": "binary"})] = None
    model: str | None = None


@router.post(
    "/v1/embeddings",
    summary="Embed texts, pictures, videos, sounds, and texts with one of them",
    response_model=EmbeddingResponse,
    responses=ERRORS,
    openapi_extra=json_body(EmbeddingRequest, "UploadRequest"),
)
async def embeddings(request: Request) -> Response:
    """One vector for each item of ``input``, in their order."""
    service = service_of(request)
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        wanted, entries = await _read_upload(request, service)
        model = service.model(wanted.model)
    else:

        def make(wanted: EmbeddingRequest) -> tuple[EmbeddingRequest, Served, list[Entry]]:
            model = service.model(wanted.model)
            prompt = model.engine.prompt(wanted.input_type, wanted.instruction)
            return wanted, model, of_openai(wanted, model.engine.tokens, prompt)

        wanted, model, entries = await read_json(request, EmbeddingRequest, make)
    dimensions = model.engine.check_dimensions(wanted.dimensions, "dimensions")
    found = await within(request, embed(service, model, entries, truncate=wanted.truncate))
    usage = {"prompt_tokens": found.tokens, "total_tokens": found.tokens}
    return ListAnswer(
        {"object": "list", "model": model.engine.name, "usage": usage},
        "data",
        _data(found.vectors, dimensions, wanted),
        count=len(found.vectors),
        row_bytes=NUMBER_BYTES * dimensions,
        held=sum(vector_D.nbytes for vector_D in found.vectors),
        unread=service.unread,
    )


def _data(vectors: Sequence[Vector], dimensions: int, wanted: EmbeddingRequest) -> Iterator[dict[str, Any]]:
    for index, vector_D in enumerate(vectors):
        shortened = shorten(vector_D, dimensions, normalize=wanted.normalize)
        numbers = base64_of(shortened) if wanted.encoding_format == "base64" else shortened.tolist()
        yield {"object": "embedding", "index": index, "embedding": numbers}


async def _read_upload(request: Request, service: Service) -> tuple[EmbeddingRequest, list[Entry]]:
    """The options of a form, and its one entry."""
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
                if name not in {"image", "video", "audio"}:
                    raise bad_request("a file must be named image, video or audio", name[:50])
                files[name] = await value.read()
            else:
                fields[name] = value
    text = fields.pop("text", "")
    for name in {"input", "messages", "modality", "image", "video", "audio"} & fields.keys():
        raise bad_request(
            "not a field of a form; `image`, `video` and `audio` are files here, and `text` is the text", name
        )
    for name in {"normalize", "truncate"} & fields.keys():
        fields[name] = {"true": True, "false": False}.get(fields[name], fields[name])
    if "dimensions" in fields and fields["dimensions"].isdecimal() and len(fields["dimensions"]) < 6:
        fields["dimensions"] = int(fields["dimensions"])
    try:
        wanted = EmbeddingRequest(input=text or "-", **fields)
    except (ValidationError, TypeError) as error:
        raise first_problem(error) if isinstance(error, ValidationError) else bad_request("bad form") from None
    prompt = service.model(wanted.model).engine.prompt(wanted.input_type, wanted.instruction)
    place = next(iter(files), "text")
    return wanted, [Entry(place, text, prompt=prompt, **files)]
