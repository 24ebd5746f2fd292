"""One form for every error that leaves the server: OpenAI's ``{"error": {message, type, param, code}}``."""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

__all__ = ["ApiError", "ErrorBody", "add_error_handlers", "bad_request", "error_response", "first_problem"]

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
CODES = {
    400: "invalid_request",
    401: "invalid_api_key",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
    429: "queue_full",
    431: "head_too_large",
    500: "internal_error",
    503: "unavailable",
    504: "deadline_exceeded",
}
LONGEST_PLACE = 200
log = logging.getLogger("llave.serving")


class _Problem(BaseModel):
    model_config = ConfigDict(title="ErrorDetail")
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """What every error looks like."""

    model_config = ConfigDict(title="Error")
    error: _Problem


class ApiError(Exception):
    """An answer that is not 200. The message is for the client: it holds nothing of the machine.

    Args:
        status: the HTTP status.
        param: the part of the request that is wrong, e.g. ``input[3]``.
        code: a word for programs; default is the status's own.
        retry_after: seconds after which another try makes sense.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.retry_after = retry_after

    def response(self) -> Response:
        """The answer."""
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return error_response(self.status, self.message, param=self.param, code=self.code, headers=headers)


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A 400."""
    return ApiError(400, message, param=param, code=code)


def error_response(
    status: int,
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The answer to a request that failed."""
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    error = {"message": message, "type": kind, "param": param, "code": code or CODES.get(status)}
    return JSONResponse({"error": error}, status_code=status, headers=dict(headers or {}))


def first_problem(error: ValidationError) -> ApiError:
    """The first problem of a form as a 400 that names its place; the value itself is not repeated."""
    found = _deepest(error.errors(include_url=False, include_context=False, include_input=False))
    place = _place(found["loc"])
    message = found["msg"].removeprefix("Value error, ")
    return bad_request(f"{place}: {message}" if place else message, place or None)


def _deepest(errors: list[ErrorDetails]) -> ErrorDetails:
    """Where several forms are allowed, the one that got furthest is the one that was meant."""
    return max(errors, key=lambda error: len(error["loc"]))


def _place(loc: tuple[int | str, ...]) -> str:
    """``("input", "<items>", 3, "image")`` is ``input[3].image``; names in <> are ours, for forms of a value.

    Names of fields that there are not are the client's, of any length.
    """
    place = ""
    for part in loc:
        if isinstance(part, int):
            place += f"[{part}]"
        elif not part.startswith("<"):
            place += f".{part}" if place else part
    return place if len(place) <= LONGEST_PLACE else place[:LONGEST_PLACE] + "…"


def add_error_handlers(app: FastAPI) -> None:
    """Every error of the routes in one form. What is not foreseen is a 500 of the outermost gate."""

    @app.exception_handler(ApiError)
    async def _own(request: Request, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)
    async def _plain(request: Request, error: HTTPException) -> Response:
        messages = {
            404: f"no such route: {request.method} {request.url.path[:200]}",
            405: f"{request.method} is not allowed here",
        }
        message = messages.get(error.status_code, str(error.detail))
        return error_response(error.status_code, message, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        details: Any = error.errors()[0]
        place = _place(tuple(part for part in details["loc"] if part not in {"query", "path", "body", "header"}))
        return error_response(400, f"{place}: {details['msg']}" if place else details["msg"], param=place or None)
