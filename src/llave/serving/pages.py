"""The web page: files built from ``web/``, and the report that ``llave analyze`` wrote, each under its own policy."""

from pathlib import Path

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["STATIC", "PageHeaders", "add_pages", "page_files"]

STATIC = Path(__file__).with_name("static")
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'"
)
GALLERY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'; sandbox"
)
HASHED, FOR_EVER = "assets/", "public, max-age=31536000, immutable"
"""Vite puts a hash of the content into the names of these."""
NOT_BUILT = "llave serve: the API is here, see /openapi.json; the web page is not built (cd web && npm run build).\n"


def page_files() -> dict[str, Path]:
    """The page's own files by their path; they have to load before the page can ask for a key."""
    files = {f"/{path.relative_to(STATIC).as_posix()}": path for path in STATIC.rglob("*") if path.is_file()}
    return {"/": STATIC / "index.html", **files} if "/index.html" in files else {}


class PageHeaders:
    """What a browser may do with an answer: run our files alone, guess no types, show it in no frame."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", POLICY)
                headers.setdefault("x-content-type-options", "nosniff")
                headers.setdefault("referrer-policy", "no-referrer")
            await send(message)

        await self._app(scope, receive, guarded if scope["type"] == "http" else send)


def add_pages(app: FastAPI, gallery: Path | None) -> None:
    """Add ``/gallery`` if there is one, and the page's files under ``/``; the last routes to be added.

    Args:
        gallery: the HTML file of ``llave analyze``.
    """
    if gallery is not None:

        @app.get("/gallery", include_in_schema=False)
        async def show_gallery() -> Response:
            return FileResponse(gallery, media_type="text/html", headers={"content-security-policy": GALLERY_POLICY})

    files = page_files()
    for path, file in files.items():
        _add_file(app, path, file)
    if not files:

        @app.get("/", include_in_schema=False)
        async def not_built() -> Response:
            return PlainTextResponse(NOT_BUILT)


def _add_file(app: FastAPI, path: str, file: Path) -> None:
    """A route for one file: no path of a request becomes a name of a file."""
    name = file.relative_to(STATIC).as_posix()
    headers = {"cache-control": FOR_EVER if name.startswith(HASHED) else "no-cache"}

    @app.get(path, include_in_schema=False)
    async def show_file() -> Response:
        return FileResponse(file, headers=headers)
