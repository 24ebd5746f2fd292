"""Hits that differ: one of each document or group, and none that says the same as those before it."""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from llave.data.pages import split_page
from llave.errors import UserError
from llave.search.names import OWN_FIELDS
from llave.search.store import Row, VectorStore

__all__ = ["TWINS", "diversify", "mmr_order"]

TWINS = 0.97
"""Cosine from which on two items are near duplicates."""


def diversify(
    store: VectorStore, rows: Sequence[Row], score_N: NDArray[np.float32], *, wanted: int, mmr: float, one_per: str
) -> list[int]:
    """Places of the rows that stay, in their new order.

    Args:
        score_N: of the rows, which are in the order of their places.
        wanted: so many at most are chosen by :func:`mmr_order`; the others follow as they were.
        mmr: see :func:`mmr_order`; 0 is off.
        one_per: ``"document"``, ``"twins"``, a field's name, or empty.

    Raises:
        UserError: no such field.
    """
    places = list(range(len(rows)))
    if not places:
        return places
    vectors = {}
    if mmr or one_per == "twins":
        vectors = store.get([row.id for row in rows], vectors=True)
        places = [place for place in places if rows[place].id in vectors]  # one may have been removed meanwhile
    vector_ND = np.stack([_vector(vectors[row.id]) for row in rows if row.id in vectors]) if vectors else None
    if one_per == "twins" and vector_ND is not None:
        kept = _apart(vector_ND)
        places, vector_ND = [places[place] for place in kept], vector_ND[kept]
    elif one_per:
        group = _grouping(one_per, store)
        first: dict[object, int] = {}
        kept = []
        for n, place in enumerate(places):
            value = group(rows[place])
            if value is None or first.setdefault(value, n) == n:
                kept.append(n)
        places = [places[n] for n in kept]
        vector_ND = None if vector_ND is None else vector_ND[kept]
    if mmr and vector_ND is not None:
        order = mmr_order(vector_ND, score_N[places], mmr, wanted)
        places = [places[place] for place in order]
    return places


def mmr_order(vector_ND: NDArray[np.float32], score_N: NDArray[np.float32], share: float, wanted: int) -> list[int]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998): each time the place of the largest
    ``(1 - share) * relevance - share * likeness``; relevance is the score between 0 (the lowest) and 1, likeness the
    largest cosine with those that were taken. What is not taken within ``wanted`` follows in its order."""
    low, high = float(score_N.min()), float(score_N.max())
    relevance_N = (score_N - low) / (high - low) if high > low else np.ones_like(score_N)
    likeness_N = np.full(len(score_N), -1.0, np.float32)
    left = np.ones(len(score_N), bool)
    order: list[int] = []
    for _ in range(min(wanted, len(score_N))):
        gain_N = (1 - share) * relevance_N - (share * likeness_N if order else 0.0)
        place = int(np.argmax(np.where(left, gain_N, -np.inf)))
        order.append(place)
        left[place] = False
        likeness_N = np.maximum(likeness_N, vector_ND @ vector_ND[place])
    return order + [int(place) for place in np.flatnonzero(left)]


def _apart(vector_ND: NDArray[np.float32]) -> list[int]:
    """Places of those that are no near duplicate of one before that stays."""
    kept: list[int] = []
    for place, vector_D in enumerate(vector_ND):
        if not kept or float((vector_ND[kept] @ vector_D).max()) < TWINS:
            kept.append(place)
    return kept


def _grouping(name: str, store: VectorStore) -> Callable[[Row], Hashable | None]:
    """What rows of one group have in common; None of a row that is in none."""
    if name == "document":
        return _document
    if name in store.fields():
        return lambda row: row.fields.get(name)
    if name in OWN_FIELDS:
        return lambda row: getattr(row, name)
    known = ", ".join(sorted({"document", "twins", *store.fields(), *OWN_FIELDS}))
    raise UserError(f"one_per: no {name!r}; there are: {known}")


def _document(row: Row) -> tuple[str, str]:
    """A page's document, a part's text, else the item itself."""
    key = str(split_page(row.key)[0])
    return row.source, key.rpartition("#part=")[0] or key


def _vector(row: Row) -> NDArray[np.float32]:
    assert row.vector_D is not None  # it was asked for
    return row.vector_D
