"""``llave search`` where the index is served already: asked there, unless this search is one that only we can do."""

import base64
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llave.cli.search import SearchConfig
    from llave.search.hits import Hits
    from llave.storage.location import Location

__all__ = ["by_server"]

MOST, FURTHEST = 200, 10_000
"""Hits of a request, and what may be left out before them."""
CHARACTERS = 400
"""Of a text that no model cuts: of a longer one only the model's tokenizer can tell, and say so."""
PICTURES = (".jpg", ".jpeg", ".png")
PICTURE_BYTES = 8 << 20


def by_server(config: "SearchConfig", folder: "Location") -> "Hits | None":
    """The hits; None where no server answers, or this search is not for one. Without hits, too: why, is said here."""
    from llave.search.served import find_server

    body = None if _is_ours(config) else _body(config)
    server = None if body is None else find_server(folder)
    if server is None or body is None:
        return None
    if config.rerank is None:
        from llave.search.info import read_info

        if read_info(folder).pipeline.rerank != server.rerank:
            return None
    return server.search(body) or None


def _is_ours(config: "SearchConfig") -> bool:
    """Whether something is asked for that a server does not do, or does otherwise."""
    only_here = (config.like, config.audio, config.html, config.model, config.device, config.dtype)
    return (
        not config.server
        or config.exact
        or any(option is not None for option in only_here)
        or config.rerank not in (None, "", "none")
        or len(config.text) > CHARACTERS
        or config.limit > MOST
        or config.offset > FURTHEST
        or (config.top or 0) > MOST
    )


def _body(config: "SearchConfig") -> dict[str, Any] | None:
    """Of the request; None for a picture that is not to be sent."""
    asked = bool(config.text or config.image)
    said = ("mode", "top", "mmr", "one_per", "weight") if asked else ("sort",)
    body = {name: value for name in said if (value := getattr(config, name)) is not None}
    body |= {"limit": config.limit, "offset": config.offset}
    if config.filter:
        body["filter"] = config.filter
    if config.text:
        body["text"] = config.text
    if config.image is not None:
        path = config.image
        if path.suffix.lower() not in PICTURES or not path.is_file() or path.stat().st_size > PICTURE_BYTES:
            return None
        body["image"] = base64.b64encode(path.read_bytes()).decode()
    if asked and config.rerank is not None:
        body["rerank"] = False
    return body if asked or config.sort is not None or config.filter else None
