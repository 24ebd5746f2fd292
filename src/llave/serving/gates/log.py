"""The outermost gate: an id, a line in the log, metrics, and an answer even if the route fails."""

import json
import logging
import random
import re
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llave.serving.errors import ApiError, error_response
from llave.serving.limits import MAX_HEAD
from llave.serving.protocol import BEGAN
from llave.serving.service import Service

__all__ = ["DEADLINE", "LogGate", "access_log", "route_of"]

DEADLINE = "llave.deadline"
"""Where the scope keeps the time, on the monotonic clock, at which a client no longer waits."""
GONE = 499
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
log = logging.getLogger("llave.serving")
access_log = logging.getLogger("llave.serving.access")


def route_of(scope: Scope) -> str:
    """The template of the route that answered; bounded, unlike the path."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "unmatched"


class LogGate:
    """Counts and logs each request; neither its content, nor its path's parameters, nor its key."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        service, start = self._service, scope.get(BEGAN, time.monotonic())
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if _ID.fullmatch(given) else f"{random.getrandbits(96):024x}"
        scope[DEADLINE] = start + _seconds(headers.get(b"x-request-timeout"), service.limits.request_seconds)
        status = 0

        async def tagged(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [(b"x-request-id", request_id.encode())]
                if service.draining:  # the client's next request needs another server
                    own.append((b"connection", b"close"))
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        service.in_flight += 1
        try:
            if (problem := _head_problem(scope)) is not None:
                await problem.response()(scope, receive, tagged)
            elif service.draining and not scope["path"].startswith("/health/"):
                error = ApiError(503, "the server is stopping; ask another", code="draining", retry_after=1)
                await error.response()(scope, receive, tagged)
            else:
                await self._app(scope, receive, tagged)
        except Exception:  # the last one to see it: the client learns only the id under which it is in the log
            log.exception("request %s failed", request_id)
            if not status:
                message = f"an error in the server; its log has the details under {request_id}"
                await error_response(500, message)(scope, receive, tagged)
        finally:
            service.in_flight -= 1
            self._note(scope, request_id, status or GONE, time.monotonic() - start)

    def _note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = route_of(scope)
        self._service.metrics.request(route, scope["method"], status, seconds)
        if access_log.isEnabledFor(logging.INFO):
            line: dict[str, Any] = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "id": request_id,
                "method": scope["method"][:10],
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 1),
            }
            access_log.info(json.dumps(line))


def _head_problem(scope: Scope) -> ApiError | None:
    """What a parser lets pass: a long head that arrived whole, a packed body, one with two lengths (smuggling)."""
    size = len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(n) + len(v) + 4 for n, v in scope["headers"])
    if size > MAX_HEAD:
        return ApiError(431, f"a head of more than {MAX_HEAD:,} bytes", code="head_too_large")
    encoding = dict(scope["headers"]).get(b"content-encoding", b"identity").strip().lower()
    if encoding not in {b"", b"identity"}:
        message = "a compressed body is not taken; send it as it is, without a content-encoding"
        return ApiError(415, message, code="unsupported_media_type")
    if {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}:
        return ApiError(400, "a body has either a content-length or a transfer-encoding", code="invalid_http")
    return None


def _seconds(asked: bytes | None, most: float) -> float:
    """A client may ask for less time than the server gives, not for more."""
    try:
        wanted = float(asked or 0)
    except ValueError:
        return most
    return min(wanted, most) if wanted > 0 else most  # nan is not
