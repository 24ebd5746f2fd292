"""``/v1/search`` and what the page shows of an index."""

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from starlette.responses import FileResponse, Response

from llave.errors import UserError
from llave.serving.catalogue import Catalogue, item
from llave.serving.embed import embed
from llave.serving.entries import Entry
from llave.serving.errors import ApiError, bad_request
from llave.serving.exchange import ERRORS, answer, json_body, read_json, service_of, within
from llave.serving.schema_search import (
    IndexResponse,
    ItemResponse,
    ItemsRequest,
    ItemsResponse,
    MapResponse,
    SearchRequest,
    SearchResponse,
)
from llave.serving.service import Service

__all__ = ["router"]

router = APIRouter()
MAGIC = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif"}
"""How the files begin that a browser shows as pictures and cannot run; WebP has its own rule."""
DAY = "private, max-age=86400, immutable"


def catalogue_of(request: Request) -> Catalogue:
    """The index.

    Raises:
        ApiError: 404, there is none.
    """
    found = service_of(request).catalogue
    if found is None:
        raise ApiError(404, "this server has no index; start it with llave serve --index", code="no_index")
    return found


@router.get("/v1/index", summary="What can be searched", response_model=IndexResponse, responses=ERRORS)
async def describe_index(request: Request) -> Response:
    """Numbers of items and the fields to filter by."""
    return Response(await within(request, catalogue_of(request).description()), media_type="application/json")


@router.get("/v1/map", summary="Every item's place on a map", response_model=MapResponse, responses=ERRORS)
async def show_map(request: Request) -> Response:
    """Columns of places, kinds and the values of fields that have few."""
    return Response(await within(request, catalogue_of(request).map()), media_type="application/json")


@router.post(
    "/v1/search",
    summary="Search by text, picture, both, or an item",
    response_model=SearchResponse,
    responses=ERRORS,
    openapi_extra=json_body(SearchRequest),
)
async def search(request: Request) -> Response:
    """The nearest items, best first."""
    start = time.monotonic()
    catalogue = catalogue_of(request)
    wanted = await read_json(request, SearchRequest, lambda body: body)

    async def work() -> dict[str, Any]:
        query_D = await _query(service_of(request), catalogue, wanted)
        return await catalogue.run(
            lambda: catalogue.search(
                query_D,
                wanted.filter,
                limit=wanted.limit,
                offset=wanted.offset,
                exclude=[wanted.id] if wanted.id else [],
                histogram=wanted.histogram,
            )
        )

    found = await within(request, work())
    return answer({"object": "search", **found, "took_ms": round((time.monotonic() - start) * 1000, 1)})


@router.post(
    "/v1/items",
    summary="Items by id",
    response_model=ItemsResponse,
    responses=ERRORS,
    openapi_extra=json_body(ItemsRequest),
)
async def items(request: Request) -> Response:
    """Up to 1000 items; unknown ids are left out."""
    catalogue = catalogue_of(request)
    wanted = await read_json(request, ItemsRequest, lambda body: body)
    found = await within(request, catalogue.run(lambda: catalogue.index.get(wanted.ids)))
    return answer({"object": "list", "data": [item(hit) for hit in found]})


@router.get("/v1/items/{item_id}", summary="An item", response_model=ItemResponse, responses=ERRORS)
async def one_item(request: Request, item_id: str) -> Response:
    """The item without a score."""
    catalogue = catalogue_of(request)
    found = await within(request, catalogue.run(lambda: catalogue.index.get([item_id])))
    if not found:
        raise _no_item()
    return answer(item(found[0]))


@router.get(
    "/v1/items/{item_id}/thumbnail", summary="A small WebP of an item", response_class=Response, responses=ERRORS
)
async def thumbnail(request: Request, item_id: str) -> Response:
    """At most 256 pixels a side; its ETag is the hash of its content."""
    catalogue = catalogue_of(request)
    data = await within(request, catalogue.run(lambda: catalogue.index.thumbnail(item_id)))
    if data is None:
        raise _no_item()
    headers = {"cache-control": DAY, "etag": f'"{hashlib.sha256(data).hexdigest()[:32]}"'}
    if headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="image/webp", headers=headers)


@router.get("/v1/items/{item_id}/content", summary="An item's own picture", response_class=Response, responses=ERRORS)
async def content(request: Request, item_id: str) -> Response:
    """The file, if it is a JPEG, PNG, WebP or GIF that still lies in the folder that was indexed."""
    catalogue = catalogue_of(request)
    found = await within(request, catalogue.run(lambda: _picture_file(catalogue, item_id)))
    if found is None:
        raise _no_item()
    path, kind = found
    return FileResponse(path, media_type=kind, headers={"cache-control": "private, max-age=3600"})


def _picture_file(catalogue: Catalogue, item_id: str) -> tuple[Path, str] | None:
    path = catalogue.index.file(item_id)
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError:
        return None
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return path, "image/webp"
    return next(((path, kind) for magic, kind in MAGIC.items() if head.startswith(magic)), None)


async def _query(service: Service, catalogue: Catalogue, wanted: SearchRequest) -> NDArray[np.float32]:
    """The unit vector that is searched for."""
    from llave.search.query import combine

    if wanted.id is not None:
        item_id = wanted.id
        found = await catalogue.run(lambda: catalogue.index.vector(item_id))
        if found is None:
            raise _no_item("id")
        return found
    prompt = catalogue.index.info.prompts.get("query") if wanted.instruction is None else wanted.instruction
    text, weight = wanted.text or "", wanted.weight
    model = service.searching()
    if weight is None:
        return (await embed(service, model, [Entry("query", text, wanted.image, prompt=prompt)])).vectors[0]
    entries = [Entry("text", text, prompt=prompt), Entry("image", image=wanted.image, prompt=prompt)]
    text_D, image_D = (await embed(service, model, entries)).vectors
    try:
        return combine(text_D, image_D, weight)
    except UserError as error:
        raise bad_request(str(error), "weight") from None


def _no_item(param: str | None = None) -> ApiError:
    return ApiError(404, "no such item, or nothing of the kind in it", param=param, code="no_such_item")
