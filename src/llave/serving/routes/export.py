"""``/v1/export``: chosen items to take away."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from llave.serving.exchange import ERRORS, json_body, read_json, service_of, within
from llave.serving.export import export
from llave.serving.routes.search import catalogue_of
from llave.serving.schema_search import ExportRequest

__all__ = ["router"]

router = APIRouter()
KINDS: dict[str, Any] = {kind: {"schema": {}} for kind in ("text/csv", "application/json", "application/zip")}


@router.post(
    "/v1/export",
    summary="Items as a table, or their files",
    response_class=Response,
    responses={**ERRORS, 200: {"description": "The items, as an attachment", "content": KINDS}},
    openapi_extra=json_body(ExportRequest),
)
async def export_items(request: Request) -> Response:
    """CSV, JSON, or a ZIP of the original files, as far as they may be given out; ``x-left-out`` counts the others, and
    a text in the ZIP names them."""
    catalogue, limits = catalogue_of(request), service_of(request).limits
    wanted = await read_json(request, ExportRequest, lambda body: body)
    found = await within(
        request,
        catalogue.run(lambda index: export(index, wanted.ids, wanted.format, most_bytes=limits.export_bytes)),
    )
    headers = {
        "content-disposition": f'attachment; filename="llave-{found.items}-items.{wanted.format}"',
        "x-left-out": str(found.left_out),
        "cache-control": "private, no-store",
    }
    if isinstance(found.content, bytes):
        return Response(found.content, media_type=found.media_type, headers=headers)
    return StreamingResponse(found.content, media_type=found.media_type, headers=headers)
