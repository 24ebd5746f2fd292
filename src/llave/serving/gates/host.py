"""Only requests that name this server: a page of a stranger whose name was pointed at us names itself instead.

The health checks are open to any name, and to none: a load balancer asks a pod by its address, and they tell nothing.
"""

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from llave.serving.errors import error_response

__all__ = ["LOOPBACK", "HostGate"]

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class HostGate:
    """Refuses other names in the Host header (DNS rebinding).

    Args:
        allowed: names without a port.
        open_paths: are answered under any name.
    """

    def __init__(self, app: ASGIApp, allowed: Iterable[str], open_paths: frozenset[str]) -> None:
        self._app = app
        self._allowed = frozenset(name.lower() for name in allowed)
        self._open = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._open:
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or _name(hosts[0]) not in self._allowed:
                message = "this server does not go by that name; see llave serve --allowed_hosts"
                await error_response(400, message, code="host_not_allowed")(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _name(host: bytes) -> str:
    """The name without its port and without the dot of the root; ``[::1]:8000`` is ``[::1]``."""
    text = host.decode("latin-1").strip().lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0].removesuffix(".")
