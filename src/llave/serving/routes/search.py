"""``/v1/search`` and what the page shows of an index."""

import asyncio
import hashlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from numpy.typing import NDArray
from starlette.responses import FileResponse, Response

from llave.data.pages import split_page
from llave.data.suffixes import FILMS
from llave.errors import UserError
from llave.search.kept import Kept
from llave.serving.catalogue import Catalogue, version_of
from llave.serving.embed import embed
from llave.serving.entries import Entry
from llave.serving.errors import ApiError, bad_request
from llave.serving.exchange import ERRORS, answer, json_body, read_json, service_of, within
from llave.serving.schema_search import (
    FoldersResponse,
    IndexResponse,
    ItemResponse,
    ItemsRequest,
    ItemsResponse,
    MapResponse,
    SearchRequest,
    SearchResponse,
)
from llave.serving.search_rerank import SearchReranker
from llave.serving.service import Service
from llave.storage.client import StorageError

if TYPE_CHECKING:
    from llave.search.index import Index
    from llave.search.store import Row

__all__ = ["router"]


def _number(index: Annotated[int, Query(ge=1, le=2, description="2 is the index beside the first one")] = 1) -> int:
    return index


router = APIRouter(dependencies=[Depends(_number)])
MAGIC = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif"}
"""How the files begin that a browser shows as pictures and cannot run; WebP has its own rule."""
SOUNDS = {
    b"fLaC": "audio/flac",
    b"OggS": "audio/ogg",
    b"\x1a\x45\xdf\xa3": "audio/webm",
    b"ID3": "audio/mpeg",
    b"\xff\xf1": "audio/aac",
    b"\xff\xf9": "audio/aac",
}
"""Likewise of sounds."""
FOR_GOOD = "private, max-age=31536000, immutable"


def catalogue_of(request: Request) -> Catalogue:
    """The index, or the one beside it.

    Raises:
        ApiError: 404, there is none.
    """
    service = service_of(request)
    found = service.beside if request.query_params.get("index") == "2" else service.catalogue
    if found is None:
        raise ApiError(404, "this server has no index; start it with llave serve --index", code="no_index")
    return found


@router.get("/v1/index", summary="What can be searched", response_model=IndexResponse, responses=ERRORS)
async def describe_index(request: Request) -> Response:
    """Numbers of items and the fields to filter by."""
    return _whole(request, await within(request, catalogue_of(request).description()))


@router.get("/v1/folders", summary="The folders of items", response_model=FoldersResponse, responses=ERRORS)
async def folders(request: Request, under: Annotated[str, Query(max_length=4096)] = "") -> Response:
    """Those right under ``under``: nothing, or a folder's path with its slash."""
    catalogue = catalogue_of(request)
    return answer(await within(request, catalogue.run(lambda index: catalogue.folders(index, under))))


@router.get("/v1/map", summary="Every item's place on a map", response_model=MapResponse, responses=ERRORS)
async def show_map(request: Request) -> Response:
    """Columns of places, kinds and the values of fields that have few."""
    return _whole(request, await within(request, catalogue_of(request).map()))


class _OtherModel(Exception):
    """A query's vector is not of the model that made the index by now."""


@router.post(
    "/v1/search",
    summary="Search by text, picture, both, or an item; or browse without any",
    response_model=SearchResponse,
    responses=ERRORS,
    openapi_extra=json_body(SearchRequest),
)
async def search(request: Request) -> Response:
    """The nearest items, best first; without a query those that pass the filter, in order.

    What was written within the last seconds is found under ``cache-control: no-cache``, too.
    """
    start = time.monotonic()
    catalogue = catalogue_of(request)
    if "no-cache" in request.headers.get("cache-control", ""):
        await asyncio.to_thread(catalogue.watched.look)
    wanted = await read_json(request, SearchRequest, lambda body: body)

    async def work() -> dict[str, Any]:
        by_vector = wanted.has_query and catalogue.mode(wanted) != "words"
        maker = catalogue.watched.index.info.fingerprint
        query_D = await _query(service_of(request), catalogue, wanted) if by_vector else None
        reranker = _reranker(service_of(request), catalogue, wanted)

        def find(index: "Index") -> dict[str, Any]:
            if query_D is not None and index.info.fingerprint != maker:
                raise _OtherModel
            return catalogue.search(index, wanted, query_D, reranker)

        try:
            return await catalogue.run(find, waits=reranker is not None)
        finally:
            if reranker is not None:
                reranker.cancel()

    async def again() -> dict[str, Any]:
        """Once more, by the model of the index that took the place of the one that the query was embedded for."""
        try:
            return await work()
        except _OtherModel:
            return await work()

    try:
        found = await within(request, again())
    except _OtherModel:
        message = "the index was replaced by one of another model, twice; try again"
        raise ApiError(503, message, code="index_unavailable", retry_after=1) from None
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
    found = await within(request, catalogue.run(lambda index: index.get(wanted.ids)))
    return answer({"object": "list", "data": [catalogue.item(hit) for hit in found]})


@router.get("/v1/items/{item_id}", summary="An item", response_model=ItemResponse, responses=ERRORS)
async def one_item(request: Request, item_id: str) -> Response:
    """The item without a score."""
    catalogue = catalogue_of(request)
    found = await within(request, catalogue.run(lambda index: index.get([item_id])))
    if not found:
        raise _no_item()
    return answer(catalogue.item(found[0]))


@router.get(
    "/v1/items/{item_id}/thumbnail", summary="A small WebP of an item", response_class=Response, responses=ERRORS
)
async def thumbnail(request: Request, item_id: str, v: str | None = None) -> Response:
    """At most 256 pixels a side. Under the item's own address, with its ``v``, it may be kept for good."""
    row = await within(request, catalogue_of(request).run(lambda index: _row(index, item_id)))
    if row is None or not row.thumbnail:
        raise _no_item()
    headers = _caching(hashlib.sha256(row.thumbnail).hexdigest()[:32], is_current=v == version_of(row.content))
    return _unchanged(request, headers) or Response(row.thumbnail, media_type="image/webp", headers=headers)


@router.get(
    "/v1/items/{item_id}/content", summary="An item's own picture or sound", response_class=Response, responses=ERRORS
)
async def content(request: Request, item_id: str, v: str | None = None) -> Response:
    """The file, if it is a JPEG, PNG, WebP or GIF, or a sound, that still lies in the folder that was indexed.

    Of a sound, a browser asks for ranges.
    """
    found = await within(request, catalogue_of(request).run(lambda index: _media_file(index, item_id, v), waits=True))
    if found is None:
        raise _no_item()
    path, kind, stat, is_current = found
    headers = _caching(f"{stat.st_size:x}-{stat.st_mtime_ns:x}", is_current=is_current)
    return _unchanged(request, headers) or FileResponse(path, stat_result=stat, media_type=kind, headers=headers)


def _whole(request: Request, made: Kept[bytes]) -> Response:
    headers = _caching(str(made.version), is_current=False)
    return _unchanged(request, headers) or Response(made.value, media_type="application/json", headers=headers)


def _caching(tag: str, *, is_current: bool) -> dict[str, str]:
    """What is current has an address of its own; under any other one the content may be another tomorrow."""
    return {"cache-control": FOR_GOOD if is_current else "private, no-cache", "etag": f'"{tag}"'}


def _unchanged(request: Request, headers: dict[str, str]) -> Response | None:
    known = headers["etag"] in request.headers.get("if-none-match", "")
    return Response(status_code=304, headers=headers) if known else None


def _row(index: "Index", item_id: str) -> "Row | None":
    return index.store.get([item_id], thumbnails=True).get(item_id)


def _media_file(index: "Index", item_id: str, v: str | None) -> tuple[Path, str, os.stat_result, bool] | None:
    """The file, its type and state, and whether it is the one that was indexed and whose address has this ``v``."""
    from llave.search.trust import Withheld

    row = _row(index, item_id)
    suffix = "" if row is None else split_page(Path(row.file))[0].suffix.lower()
    if row is None or suffix == ".pdf" or (row.kind == "video" and suffix in FILMS):  # not even fetched
        return None
    try:
        path = index.file(item_id)
    except Withheld:
        message = "files of this source are not given out; whoever runs this server can say --allow_sources"
        raise ApiError(403, message, code="source_not_allowed") from None
    except StorageError as error:
        raise ApiError(503, str(error), code="source_unavailable", retry_after=5) from None
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            head, stat = file.read(16), os.fstat(file.fileno())
    except OSError:
        return None
    kind = _sound_type(head) if row.kind == "audio" else _picture_type(head)
    as_indexed = row.stamp.startswith(f"{stat.st_size}:{stat.st_mtime_ns}:")
    return None if kind is None else (path, kind, stat, as_indexed and v == version_of(row.content))


def _picture_type(head: bytes) -> str | None:
    webp = "image/webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None
    return next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), webp)


def _sound_type(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "audio/wav"
    if head[4:8] == b"ftyp":
        return "audio/mp4"
    plain = "audio/mpeg" if head[:1] == b"\xff" and head[1:2] >= b"\xe0" else None  # a frame of MPEG's, without a tag
    return next((kind for magic, kind in SOUNDS.items() if head.startswith(magic)), plain)


async def _query(service: Service, catalogue: Catalogue, wanted: SearchRequest) -> NDArray[np.float32]:
    """The unit vector that is searched for."""
    from llave.search.query import combine

    if wanted.id is not None:
        item_id = wanted.id
        found = await catalogue.run(lambda index: index.vector(item_id))
        if found is None:
            raise _no_item("id")
        return found
    prompt = catalogue.watched.index.info.prompts.get("query") if wanted.instruction is None else wanted.instruction
    text, weight = wanted.text or "", wanted.weight
    model = service.model(catalogue.watched.model)
    if weight is None:
        entry = Entry("query", text, wanted.image, prompt=prompt, audio=wanted.audio)
        return (await embed(service, model, [entry])).vectors[0]
    place = "image" if wanted.audio is None else "audio"
    entries = [
        Entry("text", text, prompt=prompt),
        Entry(place, image=wanted.image, audio=wanted.audio, prompt=prompt),
    ]
    text_D, image_D = (await embed(service, model, entries)).vectors
    try:
        return combine(text_D, image_D, weight)
    except UserError as error:
        raise bad_request(str(error), "weight") from None


def _reranker(service: Service, catalogue: Catalogue, wanted: SearchRequest) -> SearchReranker | None:
    """What reranks the hits; nothing, unless it was asked for or the index says so."""
    if not wanted.has_query or wanted.id is not None:
        if wanted.rerank:
            raise bad_request("rerank: hits are reranked for a text, a picture or a sound", "rerank")
        return None
    asked = wanted.rerank
    if asked is None:
        asked = bool(catalogue.watched.index.info.pipeline.rerank and service.rerankers)
    if not asked:
        return None
    query = Entry("query", (wanted.text or "").strip(), wanted.image, audio=wanted.audio)
    model = service.reranker(asked if isinstance(asked, str) else None)
    return SearchReranker(service, model, query, asyncio.get_running_loop())


def _no_item(param: str | None = None) -> ApiError:
    return ApiError(404, "no such item, or nothing of the kind in it", param=param, code="no_such_item")
