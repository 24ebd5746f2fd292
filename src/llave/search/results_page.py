"""The hits of a search as one HTML file, with thumbnails and without a script."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llave.report.gallery import TEXT_LIMIT
from llave.report.inline import thumbnail
from llave.report.page import versions, write_page
from llave.search.hits import Hit
from llave.search.index import Index

__all__ = ["write_results_page"]


def write_results_page(
    path: Path,
    index: Index,
    hits: Sequence[Hit],
    *,
    text: str = "",
    image: Path | None = None,
    weight: float | None = None,
    like: str | None = None,
    like_image: bytes = b"",
    filter_text: str = "",
    passing: int,
) -> None:
    """Write what was asked and what was found.

    Args:
        passing: items that pass the filter.
    """
    rows = index.store.get([hit.id for hit in hits], thumbnails=True)
    entries = [_entry(hit, rows[hit.id].thumbnail if hit.id in rows else b"") for hit in hits]
    write_page(
        path,
        "results.html.j2",
        title=text or (image.name if image is not None else "Items" if like is None else f"More like {like}"),
        text=text,
        query_image=thumbnail(image) if image is not None else _uri(like_image),
        weight=weight,
        like=like,
        filter=filter_text,
        hits=entries,
        passing=passing,
        total=index.count(),
        model=index.info.model,
        errors=[],
        settings={
            "index": str(index.path),
            "model": index.info.model,
            "fingerprint": index.info.fingerprint[:16],
            "prompt of a query": index.info.prompts["query"] or "none",
            **versions(),
        },
    )


def _entry(hit: Hit, picture: bytes) -> dict[str, Any]:
    fields = {name: value for name, value in hit.fields.items() if value is not None}
    return {
        "score": hit.score,
        "kind": hit.kind,
        "path": hit.path,
        "text": hit.text if len(hit.text) <= TEXT_LIMIT else hit.text[: TEXT_LIMIT - 1] + "…",
        "image": _uri(picture),
        "id": hit.id,
        "fields": {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in fields.items()},
    }


def _uri(picture: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(picture).decode() if picture else ""
