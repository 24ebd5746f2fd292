"""Queries with their relevant and best wrong candidates, ready for a page: short texts and thumbnails."""

import math
from pathlib import Path
from typing import Any

from llave.data.mmeb import RowItem
from llave.errors import UserError
from llave.evaluation.similarity_gap import HardNegative
from llave.report.inline import thumbnail

__all__ = ["PAGE_LIMIT", "TEXT_LIMIT", "Thumbnails", "gallery_entry", "gallery_part"]

TEXT_LIMIT = 240
PAGE_LIMIT = 16_000_000
"""Characters of all thumbnails of a page; with them it still opens on a phone."""


class Thumbnails:
    """Makes thumbnails until a page has enough of them. A file that cannot be read has none.

    Args:
        side: pixels, at most.
        limit: characters of all thumbnails together.
    """

    def __init__(self, side: int = 144, limit: int = PAGE_LIMIT) -> None:
        self.side = side
        self.room = limit
        self.left_out = 0

    def of(self, path: Path | None, *, video: bool = False) -> str:
        """The data URI of a picture, of a page of a document, or of the first frame of a video; or ``""``."""
        if path is None:
            return ""
        try:
            uri = thumbnail(path, self.side, video=video) if self.room > 0 else ""
        except (UserError, OSError):
            uri = ""
        if not uri or len(uri) > self.room:
            self.left_out += 1
            return ""
        self.room -= len(uri)
        return uri


def gallery_entry(entry: HardNegative, thumbnails: Thumbnails) -> dict[str, Any]:
    """What the template's macro ``cases`` shows of a query."""
    return {
        "row": entry.row,
        "wrong": entry.rank > 1,
        "rank": f"{entry.rank:,.0f}" if math.isfinite(entry.rank) else "none",
        "candidates": entry.candidates,
        "query": gallery_part(entry.query, entry.query_image, None, thumbnails),
        "positive": gallery_part(entry.positive, entry.positive_image, entry.positive_score, thumbnails),
        "negative": gallery_part(entry.negative, entry.negative_image, entry.negative_score, thumbnails),
    }


def gallery_part(item: RowItem, path: Path | None, score: float | None, thumbnails: Thumbnails) -> dict[str, Any]:
    """An item: the beginning of its text, and its picture, small."""
    text = item.text if len(item.text) <= TEXT_LIMIT else item.text[: TEXT_LIMIT - 1] + "…"
    return {
        "score": score,
        "text": text,
        "kind": "video" if item.video else "sound" if item.audio else "picture",
        "name": item.video or item.audio or item.image if path is not None else "",
        "image": thumbnails.of(None if item.audio else path, video=bool(item.video)),
    }
