"""From a query to hits in stages: retrieve by vector, by words or by both, rerank, diversify.

Hybrid scores are those of :mod:`llave.search.fusion`, whose weight is measured on the index's own items
(:mod:`llave.search.own_queries`).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from llave.encode.forward import Refused
from llave.encode.item import Item
from llave.errors import UserError
from llave.search.diversify import diversify
from llave.search.filters import EVERYTHING, Filter
from llave.search.fusion import attainable, share
from llave.search.store import Row, VectorStore

__all__ = ["Found", "Mode", "Pipeline", "Reranking", "Scorer", "item_of", "retrieve", "run_pipeline"]

Result = TypeVar("Result")
Mode = Literal["vector", "words", "hybrid"]
POOL = 100
"""Candidates of each retriever, at least."""


class Scorer(Protocol):
    """A reranker: a score for each pair of a query and a document, or why there is none."""

    def __call__(self, query: Item, documents: Sequence[Item]) -> Sequence[float | Refused]:
        """Scores, in the documents' order; the higher, the better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """How a search is done, as an index's settings declare it.

    Args:
        mode: ``"vector"``, ``"words"`` or ``"hybrid"``.
        weight: of the words beside the cosine in hybrid search (:mod:`llave.search.fusion`).
        rerank: path or hub id of a reranker; empty for none.
        top: best hits that are reranked.
        mmr: from 0 to 1, how much a hit loses for being like those before it (maximal marginal relevance); 0 is off.
        one_per: one hit of each ``"document"`` (its pages and parts), ``"twins"`` (near duplicates: cosine of at least
            0.97), or value of a field; empty for all.
    """

    mode: Mode = "vector"
    weight: float = 0.5
    rerank: str = ""
    top: int = 50
    mmr: float = 0.0
    one_per: str = ""

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise UserError(f"mode {self.mode!r}: one of {', '.join(get_args(Mode))}")
        if not (np.isfinite(self.weight) and self.weight >= 0):
            raise UserError(f"weight of the words {self.weight:g}: from 0 on")
        if not 1 <= self.top <= 10_000:
            raise UserError(f"top {self.top}: from 1 to 10,000 hits are reranked")
        if not 0 <= self.mmr <= 1:
            raise UserError(f"mmr {self.mmr:g}: from 0 to 1")


@dataclass(slots=True)
class Found:
    """A row on its way through the stages: its score and place (from 1) after each.

    Args:
        said: what its words add to its score.
    """

    row: Row
    score: float
    said: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reranking:
    """A reranker, what it compares with, and how a row becomes an item."""

    scorer: Scorer
    query: Item
    item_of: Callable[[Row], Item]


def run_pipeline(
    store: VectorStore,
    pipeline: Pipeline,
    *,
    wanted: int,
    vector: Callable[[], NDArray[np.float32]],
    text: str = "",
    conditions: Filter = EVERYTHING,
    exclude: Sequence[str] = (),
    exact: bool = False,
    reranking: Reranking | None = None,
) -> tuple[list[Found], dict[str, float]]:
    """At least the ``wanted`` best, if there are as many, and the milliseconds of each stage.

    Args:
        vector: the query's (D,), of unit length; asked for if the mode needs it.
        text: that is compared by its words.
        exclude: ids that are no answer.
        reranking: for the ``pipeline.top`` best.

    Raises:
        UserError: a mode or a stage that this index does not have, or a filter on a field that is not there.
    """
    times: dict[str, float] = {}
    mode = pipeline.mode
    several = bool(reranking) or pipeline.mmr > 0 or bool(pipeline.one_per)
    pool = wanted + len(exclude)
    if several:
        pool = max(pool, POOL, pipeline.top if reranking else 0)
        pool *= 3 if pipeline.one_per else 1
    query_D = None
    if mode != "words":
        query_D = _timed(times, "embed", vector)
    found = _timed(
        times,
        mode,
        lambda: retrieve(store, mode, query_D, text, pool, conditions, weight=pipeline.weight, exact=exact),
    )
    gone = set(exclude)
    found = [each for each in found if each.row.id not in gone]
    _rank(found, mode)
    if reranking is not None:
        found = _timed(times, "rerank", lambda: _rerank(found, pipeline.top, reranking))
        _rank(found, "rerank")
    if pipeline.mmr or pipeline.one_per:
        order = _timed(
            times,
            "diversify",
            lambda: diversify(
                store,
                [each.row for each in found],
                np.asarray([each.score for each in found], np.float32),
                wanted=wanted,
                mmr=pipeline.mmr,
                one_per=pipeline.one_per,
            ),
        )
        found = [found[place] for place in order]
        _rank(found, "diversify")
    return found, times


def retrieve(
    store: VectorStore,
    mode: Mode,
    query_D: NDArray[np.float32] | None,
    text: str,
    limit: int,
    conditions: Filter = EVERYTHING,
    *,
    weight: float,
    exact: bool = False,
) -> list[Found]:
    """The best rows by vector, by words, or by both: then of those among the best of either, with both scores."""
    if mode == "words":
        said = store.match(text, limit=limit, conditions=conditions)
        return [Found(row, score, scores={"words": score}) for row, score in said]
    assert query_D is not None
    pool = limit if mode == "vector" else max(limit, POOL)
    near = store.nearest(query_D, limit=pool, conditions=conditions, exact=exact)
    if mode == "vector":
        return [Found(row, score, scores={"vector": score}) for row, score in near]
    said = store.match(text, limit=pool, conditions=conditions)
    cosines = {row.id: score for row, score in near}
    matches = {row.id: score for row, score in said}
    rows = {row.id: row for row, _ in (*near, *said)}
    unheard = [row_id for row_id in cosines if row_id not in matches]
    if unheard and len(said) == pool:  # else whoever shares a word is among them
        matches |= {row.id: score for row, score in store.match(text, limit=len(unheard), ids=unheard)}
    unseen = store.get([row_id for row_id in matches if row_id not in cosines], vectors=True)
    for row_id, row in unseen.items():
        assert row.vector_D is not None
        cosines[row_id] = float(row.vector_D @ query_D)
    best = attainable(store, text)
    found = []
    for row_id, cosine in cosines.items():
        match = matches.get(row_id, 0.0)
        added = weight * share(match, best)
        found.append(Found(rows[row_id], cosine + added, added, {"vector": cosine, "words": match}))
    found.sort(key=lambda each: (-each.score, each.row.key))
    for name in ("vector", "words"):
        by_part = sorted((each for each in found if each.scores[name]), key=lambda each: -each.scores[name])
        _rank(by_part, name)
    return found


def _rerank(found: list[Found], top: int, reranking: Reranking) -> list[Found]:
    """The best ones by the reranker's score in place of the cosine, those that it refuses after them, then the others
    as they were. What words add stays: a reranker that reads pictures worse than names would undo them."""
    best, others = found[:top], found[top:]
    scores = reranking.scorer(reranking.query, [reranking.item_of(each.row) for each in best])
    taken, refused = [], []
    for each, score in zip(best, scores, strict=True):
        if isinstance(score, Refused):
            refused.append(each)
        else:
            each.scores["rerank"] = float(score)
            each.score = float(score) + each.said
            taken.append(each)
    taken.sort(key=lambda each: -each.score)  # stable: of equals, the first stage's order
    return [*taken, *refused, *others]


def _rank(found: Sequence[Found], stage: str) -> None:
    for place, each in enumerate(found, start=1):
        each.ranks[stage] = place


def _timed(times: dict[str, float], stage: str, work: Callable[[], Result]) -> Result:
    start = time.perf_counter()
    done = work()
    times[stage] = 1e3 * (time.perf_counter() - start)
    return done


def item_of(row: Row, file: Path | None) -> Item:
    """What the model sees of a row.

    Args:
        file: of the picture, page, video or sound, page and all.
    """
    if row.kind == "page" and file is not None:
        return Item(image=file)  # its text is what the picture shows
    if row.kind == "video":
        return Item(row.text, video=file)
    return Item(row.text, audio=file) if row.kind == "audio" else Item(row.text, file)
