"""Queries to begin with, made of what the items of an index have in common: each is said by several of them, and the
next one mostly by others."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from llave.search.words import WORD

if TYPE_CHECKING:
    from llave.search.store import VectorStore

__all__ = ["suggestions"]

ITEMS = 5000
"""That are read at most."""
FEWEST, SHARE = 3, 0.2
"""Items that say it: at least so many, and at most this part; what more of them say tells little apart."""
LENGTHS = range(3, 33)
WORDS = 4
"""Of a query at most."""
LETTERS = 3
"""Of a word that is taken from a longer text, at least."""
FLAG = 4
"""A field of so few values says how items were made or sorted, not what they are of."""
PARTS = re.compile(r"[,;|/\n]")
EVEN = re.compile(r"[^\W\d_][\w'’&: -]*[\w]")


def suggestions(store: "VectorStore", count: int = 7) -> list[str]:
    """At most so many queries; fewer where items have little in common that has words."""
    names = [name for name, kind in store.fields().items() if kind == "string"]
    columns = store.column(["text"], names)
    texts = {name: columns[name] for name in names if len({*columns[name]} - {None}) > FLAG}
    said = _said({"": columns["text"], **texts})
    rows = max((len(column) for column in columns.values()), default=0)
    usual = math.sqrt(FEWEST * max(FEWEST, SHARE * rows))
    chosen: list[str] = []
    seen: set[int] = set()
    while said and len(chosen) < count:
        # New items first, then whole names before pieces of texts, then what neither few nor many say.
        best = min(
            said,
            key=lambda text: (
                len(said[text][1] & seen) / len(said[text][1]) > 0.5,
                said[text][0],
                abs(math.log(len(said[text][1]) / usual)),
                text,
            ),
        )
        _, items = said.pop(best)
        seen |= items
        chosen.append(best)
        said = {text: about for text, about in said.items() if not _alike(text, best)}
    return chosen


def _said(columns: Mapping[str, list[str | None]]) -> dict[str, tuple[int, set[int]]]:
    """What several items say: whether it is a whole value (0), two words of one (1) or a word (2); and which items."""
    items: defaultdict[str, set[int]] = defaultdict(set)
    ranks: dict[str, int] = {}
    rows = 0
    for column in columns.values():
        step = max(1, len(column) // ITEMS)
        rows = max(rows, len(column[::step]))
        for row, value in enumerate(column[::step]):
            for rank, text in _pieces(value or ""):
                items[text].add(row)
                ranks[text] = min(rank, ranks.get(text, rank))
    most = max(FEWEST, SHARE * rows)
    usual = {text for text, found in items.items() if len(found) > most}  # "the", and what else tells little apart
    return {
        text: (ranks[text], found)
        for text, found in items.items()
        if FEWEST <= len(found) <= most and not (ranks[text] == 1 and usual.intersection(text.split()))
    }


def _pieces(value: str) -> Iterator[tuple[int, str]]:
    for part in PARTS.split(value):
        text = part.strip().strip(".")
        words = [word.casefold() for word in WORD.findall(text)]
        if len(words) <= WORDS and len(text) in LENGTHS and EVEN.fullmatch(text):
            yield 0, text
            continue
        plain = [word if len(word) >= LETTERS and word.isalpha() else "" for word in words]
        yield from ((1, f"{one} {other}") for one, other in pairwise(plain) if one and other)
        yield from ((2, word) for word in plain if word)


def _alike(one: str, other: str) -> bool:
    """Whether they share a word."""
    words = [{word.casefold() for word in WORD.findall(text) if len(word) >= LETTERS} for text in (one, other)]
    return bool(words[0] & words[1]) or one.casefold() == other.casefold()
