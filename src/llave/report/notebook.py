"""What a notebook shows of hits and of an index: small HTML, pictures in it."""

import base64
from collections.abc import Callable, Iterable, Mapping
from html import escape
from math import isnan
from typing import Any, Protocol

__all__ = ["about_html", "cards_html"]

SHOWN = 24
"""Cards at most: each holds its picture, and a notebook keeps all of them."""
CARD = "width:150px;font-size:12px;line-height:1.35;overflow-wrap:anywhere"
PICTURE = "width:150px;height:120px;object-fit:contain;background:#8881;border-radius:4px"


class Card(Protocol):
    """What a card shows."""

    @property
    def id(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def text(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def fields(self) -> Mapping[str, Any]: ...


def cards_html(cards: Iterable[Card], thumbnail: Callable[[str], bytes | None] | None = None) -> str:
    """Cards side by side: picture or text, path, score, fields.

    Args:
        thumbnail: of an id, a WebP.
    """
    cards = list(cards)
    parts = [_card(card, thumbnail(card.id) if thumbnail else None) for card in cards[:SHOWN]]
    more = f"<p>… and {len(cards) - SHOWN:,} more</p>" if len(cards) > SHOWN else ""
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{"".join(parts)}</div>{more}'


def about_html(title: str, about: Mapping[str, str]) -> str:
    """A title and a table of two columns."""
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in about.items()
    )
    return f"<b>{escape(title)}</b><table>{rows}</table>"


def _card(card: Card, picture: bytes | None) -> str:
    if picture:
        data = base64.b64encode(picture).decode()
        head = f'<img style="{PICTURE}" src="data:image/webp;base64,{data}" alt="{escape(card.path)}">'
    else:
        text = card.text if len(card.text) <= 200 else f"{card.text[:199]}…"
        head = f'<div style="{PICTURE};overflow:hidden;padding:4px;box-sizing:border-box">{escape(text)}</div>'
    score = "" if isnan(card.score) else f"<b>{card.score:.3f}</b> "
    fields = ", ".join(f"{name}: {value}" for name, value in card.fields.items() if value is not None)
    return f'<div style="{CARD}">{head}<div>{score}{escape(card.path)}</div><small>{escape(fields)}</small></div>'
