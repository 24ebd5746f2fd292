"""A server under a path of its host: ``https://host/llave/`` is ours, whether the proxy takes ``/llave`` off or not."""

import re

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from llave.errors import UserError

__all__ = ["RootGate", "clean_root"]

_ROOT = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")


def clean_root(root_path: str) -> str:
    """``/llave`` of ``/llave/``; ``""`` is the host's own root.

    Raises:
        UserError: no path.
    """
    found = root_path.rstrip("/")
    if not _ROOT.fullmatch(found):
        raise UserError(f"root_path: {root_path!r} is not a path such as /llave")
    return found


class RootGate:
    """Takes the path off where it is still there. No header of a request says where we are.

    Args:
        root: as :func:`clean_root` gives it, and not empty.
    """

    def __init__(self, app: ASGIApp, root: str) -> None:
        self._app = app
        self._root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["path"] == self._root and scope["method"] in {"GET", "HEAD"}:
                # What the page names relative to itself lies under the path with its slash.
                await RedirectResponse(f"{self._root}/", 308)(scope, receive, send)
                return
            if scope["path"].startswith(f"{self._root}/"):
                scope = {**scope, "path": scope["path"].removeprefix(self._root)}
        await self._app(scope, receive, send)
