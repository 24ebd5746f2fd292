"""The end of a run that has written to an index."""

import dataclasses
import hashlib

from llave.progress import Work
from llave.search.check import find_settings
from llave.search.index import Index
from llave.search.options import BuildOptions
from llave.search.projection import project, write_map

__all__ = ["draw", "finish_index", "tune"]


def finish_index(index: Index, work: Work, options: BuildOptions) -> None:
    """Compact it, find the settings of approximate search, and draw the map, as far as rows have changed."""
    before = index.info
    tune(index, work, options)
    if index.info != before:
        index.save()
    draw(index, work, options)


def tune(index: Index, work: Work, options: BuildOptions) -> None:
    """Compact it, and find the settings of approximate search; they are not saved."""
    work.stage("compact")
    index.store.optimize(exact_below=options.exact_below, settings=index.info.settings)
    stats = index.store.stats()
    if stats.approximate and stats.rows:
        work.stage("measure recall")
        index.info = dataclasses.replace(index.info, settings=find_settings(index, seed=options.seed))
        index.store.use(index.info.settings)


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
