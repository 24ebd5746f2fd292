"""One score of a cosine and of words.

    score = cosine + weight * share ** 1.5        share = BM25(query, item) / the BM25 of whoever says all of the query

The share is 1 where an item says all that was asked, and near 0 where it only says what many say. If no item says all,
the divisor is the sum over the query's words of the best BM25 that any item has for that word alone. A word that no
item has, not even misspelt, stands in the sum as the rarest word would, so that items which have only the rest gain
little: then the query probably says it in other words, and the vector decides. The power makes half of the words worth
less than half. Fusion of ranks (RRF) sees none of this, and loses to the better part wherever one part is much better
(docs/search.md has both).
"""

import math

from llave.search.store import VectorStore
from llave.search.words import WORD

__all__ = ["attainable", "share"]

POWER = 1.5
SATURATED = 2.0
"""What a rare word's frequency in a short text multiplies its weight by in BM25, about."""
MOST_WORDS = 24
"""Of a longer query, the first ones."""


def attainable(store: VectorStore, text: str) -> float:
    """The BM25 score of the item that says all of a query's words, or of one that would; above 0."""
    if whole := store.best([text], every=True)[0]:
        return whole
    words = [*dict.fromkeys(word.casefold() for word in WORD.findall(text))][:MOST_WORDS]
    missing = SATURATED * math.log(1 + max(2, store.count()))
    return sum(score or missing for score in store.best(words)) or missing


def share(match: float, best: float) -> float:
    """How much of a query an item says, from 0 to 1, half of it less than half.

    Args:
        match: its BM25 score.
        best: see :func:`attainable`.
    """
    return float(min(1.0, max(0.0, match / best)) ** POWER)
