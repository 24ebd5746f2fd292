"""The end of a run that has written to an index."""

import dataclasses
import hashlib
from typing import TYPE_CHECKING

from llave.progress import Work
from llave.search.addresses import is_postgres
from llave.search.check import find_settings
from llave.search.index import Index
from llave.search.info import BY_USER, LANCE
from llave.search.options import BuildOptions
from llave.search.own_queries import choose_pipeline
from llave.search.projection import project, write_map

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["draw", "finish_index", "tune"]

WEIGH_AGAIN = 1.5
"""Measure anew when the index has grown by this factor."""


def finish_index(index: Index, model: "SentenceTransformer", work: Work, options: BuildOptions) -> None:
    """Keep the words, compact it, find the settings of search, and draw the map, as far as rows have changed."""
    before = index.info
    tune(index, model, work, options)
    if index.info != before:
        index.save()
    draw(index, work, options)


def tune(index: Index, model: "SentenceTransformer", work: Work, options: BuildOptions) -> None:
    """Keep the words, compact it, and find the settings of approximate and of hybrid search; they are not saved."""
    work.stage("words")
    index.store.keep_words(index.info.words)
    work.stage("compact")
    index.store.optimize(exact_below=options.exact_below, settings=index.info.settings)
    stats = index.store.stats()
    state = _measured(index, options)
    if stats.approximate and stats.rows and (not state or state != index.info.measured_at):
        work.stage("measure recall")
        settings = find_settings(index, seed=options.seed)[0]
        index.info = dataclasses.replace(index.info, settings=settings, measured_at=state)
        index.store.use(index.info.settings)
    _weigh(index, model, work, options)


def _measured(index: Index, options: BuildOptions) -> str:
    """What the settings of approximate search depend on: a run that changes no row need not find them anew. Empty where
    that cannot be told: Qdrant's version is of this process alone."""
    info = index.info
    kept = info.settings.precision, info.settings.prefix, info.settings.target
    counted = info.store == LANCE or is_postgres(info.store)
    return f"{info.generation} {index.store.version()} {kept} {options.seed}" if counted else ""


def _weigh(index: Index, model: "SentenceTransformer", work: Work, options: BuildOptions) -> None:
    """How words and vectors are weighed, as long as the user has not said it: where nothing is known yet, and where the
    index has grown by a factor since."""
    info, rows = index.info, index.store.count()
    known = info.weighed_at == BY_USER or rows < WEIGH_AGAIN * info.weighed_at
    if known or not options.weigh or not info.words.sources or not index.store.has_words():
        return
    work.stage("weigh words")
    if (found := choose_pipeline(index, model, seed=options.seed)) is not None:
        index.info = dataclasses.replace(info, pipeline=found[0], weighed_at=rows)


def draw(index: Index, work: Work, options: BuildOptions) -> None:
    """The map, if it is wanted and not of these vectors."""
    if not options.make_map:
        return
    old, state = index.map(), _state(index)
    if old is not None and old.state == state:
        return
    work.stage("map")
    ids, vector_ND = index.store.vectors(limit=None)
    write_map(index.path, ids, project(vector_ND, seed=options.seed), state=state)


def _state(index: Index) -> str:
    """A hash of what the vectors are of, and of the model. What a run did does not tell whether its map is of now: the
    run before may have been killed before its map, or have been told to make none."""
    columns = index.store.column(["id", "content"])
    digest = hashlib.sha256(index.info.fingerprint.encode())
    for identity, content in sorted(zip(columns["id"], columns["content"], strict=True)):
        digest.update(f"{identity} {content}\n".encode())
    return digest.hexdigest()
