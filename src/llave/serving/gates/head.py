"""HEAD wherever GET is: probes, caches and link checkers ask for the head alone."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HeadGate"]


class HeadGate:
    """Asks the routes as GET does, and leaves out the answer's body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        asked = {**scope, "method": "GET"}
        try:
            await self._app(asked, receive, without_body)
        finally:
            scope["route"] = asked.get("route")  # for the log
