"""Words as Qdrant's sparse vectors: a query's product with an item's is its BM25 score, whose rarity of words (IDF) the
server adds.

Words are whole and as they are written: endings stay, and misspelt ones find nothing. Qdrant's own full-text index only
filters, and scores nothing.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from qdrant_client import QdrantClient, models

from llave.search.qdrant_points import WORDED, known_point, row_of, vector_of
from llave.search.store import Row
from llave.search.words import K1, USUAL, B, Words, tokens, words_of

__all__ = ["WORDS", "both_vectors", "fill", "has_words", "match_words", "sparse_of"]

WORDS = "words"
"""Name of the sparse vector."""
POINTS_AT_ONCE = 256
EVERY_AMONG = 50
"""Who has every word is looked for among so many of the best; Qdrant has no such condition on a sparse vector."""


def sparse_of(text: str) -> models.SparseVector:
    """An item's words, each by how much it weighs in the item."""
    counts = _counted(text)
    norm = K1 * (1 - B + B * sum(counts.values()) / USUAL)
    values = [count * (K1 + 1) / (count + norm) for count in counts.values()]
    return models.SparseVector(indices=list(counts), values=values)


def both_vectors(row: Row) -> dict[str, Any]:
    """Of a row in a collection that has words."""
    return {"": vector_of(row), WORDS: sparse_of(row.words)}


def match_words(
    client: QdrantClient,
    collection: str,
    text: str,
    limit: int,
    conditions: models.Filter | None,
    ids: Sequence[str] | None,
    every: bool,
) -> list[tuple[Row, float]]:
    """The rows that share words with a text, best first; see :meth:`llave.search.store.VectorStore.match`."""
    words = list(_counted(text))
    if not words:
        return []
    if ids is not None:
        among: Any = models.HasIdCondition(has_id=[point for i in ids if (point := known_point(i)) is not None])
        conditions = models.Filter(must=[among, *([] if conditions is None else [conditions])])
    found = client.query_points(
        collection,
        query=models.SparseVector(indices=words, values=[1.0] * len(words)),
        using=WORDS,
        limit=max(limit, EVERY_AMONG) if every else limit,
        query_filter=conditions,
        with_payload=models.PayloadSelectorExclude(exclude=["thumbnail"]),
        with_vectors=[WORDS] if every else False,
    )
    points = [point for point in found.points if point.score > 0]
    if every:
        points = [point for point in points if set(words) <= _words_of(point)][:limit]
    rows = [(row_of(point), float(point.score)) for point in points]
    return sorted(rows, key=lambda pair: (-pair[1], pair[0].key))


def fill(client: QdrantClient, collection: str, rows: Mapping[str, Row], words: Words) -> None:
    """Write the words of these rows, by point."""
    points = list(rows)
    for start in range(0, len(points), POINTS_AT_ONCE):
        some = points[start : start + POINTS_AT_ONCE]
        spelled = (words_of(row.text, row.path or row.key, row.fields, words) for row in map(rows.__getitem__, some))
        vectors = [
            models.PointVectors(id=point, vector={WORDS: sparse_of(text)})
            for point, text in zip(some, spelled, strict=True)
        ]
        client.update_vectors(collection, vectors, wait=True)
        client.set_payload(collection, {WORDED: True}, points=list(some), wait=True)


def has_words(client: QdrantClient, collection: str) -> bool:
    """Whether items have words, by one of them: all do, or none where the index keeps no words."""
    points, _ = client.scroll(collection, limit=1, with_payload=False, with_vectors=[WORDS])
    return any(_words_of(point) for point in points)


def _words_of(point: Any) -> set[int]:
    words = set(point.vector.pop(WORDS).indices)
    point.vector = None
    return words


def _counted(text: str) -> Counter[int]:
    return Counter(map(_number, tokens(text)))


def _number(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=4).digest()) >> 1
