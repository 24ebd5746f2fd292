"""Reading a request, waiting for its work no longer than its client does, and describing both in OpenAPI."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Receive

from llave.serving.errors import ApiError, ErrorBody
from llave.serving.gates.log import DEADLINE
from llave.serving.json_body import parse_json
from llave.serving.service import Service

__all__ = ["ERRORS", "ClientGone", "answer", "json_body", "read_json", "service_of", "within"]

LARGE = 1 << 18
"""A body of so many bytes is read in a thread, so that other requests go on."""
Body = TypeVar("Body", bound=BaseModel)
Result = TypeVar("Result")
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": text}
    for status, text in {
        400: "The request is wrong; `param` says where",
        401: "An API key is needed",
        404: "Not here",
        405: "Another method",
        408: "The body did not arrive in time",
        413: "More than the limits allow",
        415: "Another content type",
        429: "The server is full; Retry-After says when to try again",
        500: "An error in the server",
        503: "Loading, stopping or out of memory",
        504: "Not done within the request's time",
    }.items()
}


class ClientGone(Exception):
    """No one waits for the answer."""


def service_of(request: Request) -> Service:
    """The server's state."""
    service: Service = request.app.state.service
    return service


def answer(value: Any, headers: dict[str, str] | None = None) -> Response:
    """JSON, written by pydantic's core: vectors are many numbers."""
    return Response(to_json(value), media_type="application/json", headers=headers)


def json_body(model: type[BaseModel], *more: str) -> dict[str, Any]:
    """OpenAPI's words for a body that the route reads itself."""
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
    for name in more:
        content["multipart/form-data"] = {"schema": {"$ref": f"#/components/schemas/{name}"}}
    return {"requestBody": {"required": True, "content": content}}


async def read_json(request: Request, model: type[Body], make: Callable[[Body], Result]) -> Result:
    """What ``make`` makes of the body, which is read and made in a thread if it is large.

    Raises:
        ApiError: not JSON, not of that form, or of too many values; or what ``make`` raises.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, f"send application/json, not {kind[:60]}", code="unsupported_media_type")
    raw = b"".join([part async for part in request.stream()])  # which the request does not keep
    if len(raw) < LARGE:
        return make(parse_json(raw, model))
    return await service_of(request).in_thread(lambda: make(parse_json(raw, model)))


async def within(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of a request's work; it ends when the client's time is up or the client goes away.

    Raises:
        ApiError: 504.
        ClientGone: there is no one to answer.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request.receive))
    try:
        async with asyncio.timeout_at(request.scope[DEADLINE]):
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError:
        raise ApiError(504, "not done within the time for a request; send less, or try again later") from None
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ApiError):
                await task
    if task.cancelled():
        service_of(request).metrics.cancelled.inc()
        raise ClientGone
    return task.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
