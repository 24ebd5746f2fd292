"""Items in sections, as a page of thumbnails: groups of duplicates, clusters, labels."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llave.report.gallery import PAGE_LIMIT
from llave.report.page import versions, write_page

__all__ = ["Card", "Section", "write_sheet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """An item.

    Args:
        picture: encoded as WebP; empty of what has none.
        text: shown in place of a picture.
        about: a line below its name.
        marked: stands out, as the best copy does.
    """

    name: str
    picture: bytes = b""
    text: str = ""
    about: str = ""
    marked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Items under a title."""

    title: str
    about: str
    cards: Sequence[Card]


def write_sheet(
    path: Path, title: str, about: Sequence[str], sections: Sequence[Section], settings: Mapping[str, object]
) -> None:
    """One HTML file. When its pictures have filled it, those that follow are named only, and it says how many."""
    room, bare = PAGE_LIMIT, 0
    shown = []
    for section in sections:
        cards = []
        for card in section.cards:
            uri = "data:image/webp;base64," + base64.b64encode(card.picture).decode() if card.picture else ""
            if len(uri) > room:
                uri, bare = "", bare + 1
            room -= len(uri)
            cards.append((card, uri))
        shown.append((section, cards))
    write_page(
        path,
        "sheet.html.j2",
        title=title,
        about=about,
        sections=shown,
        bare=bare,
        errors=[],
        settings={**settings, **versions()},
    )
