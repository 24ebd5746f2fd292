"""One process at a time writes to an index; whoever does first ends what another one left when it was killed."""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager

from llave.errors import UserError
from llave.files import remove_leftovers
from llave.search.index import Index
from llave.search.info import INFO, read_info
from llave.search.known_errors import move_errors
from llave.search.open_store import drop_store
from llave.search.sources import read_sources, write_sources
from llave.storage.changes import modified
from llave.storage.locks import alone

__all__ = ["end_moves", "writing"]

KEEP_SECONDS = 600
"""So long a table stays that no index.json names any more."""


@contextmanager
def writing(index: Index) -> Iterator[None]:
    """The index is this process's alone.

    Raises:
        UserError: it is another one's, or has become another model's since it was opened.
    """
    with alone(index.path, "to this index"):
        _catch_up(index)
        remove_leftovers(index.path)
        end_moves(index)
        drop_retired(index)
        yield


def _catch_up(index: Index) -> None:
    """What another process has written since the index was opened must not be undone."""
    info = read_info(index.path)
    if info.generation != index.info.generation:
        raise UserError(f"{index.path}: has become an index of {info.model} meanwhile; open it again")
    index.info = info


def drop_retired(index: Index) -> None:
    """Tables of the models before, when whoever had them open has had the time to notice."""
    if index.info.retired and time.time() - modified(index.path / INFO) > KEEP_SECONDS:
        for generation in index.info.retired:
            drop_store(index.path, index.info, generation)
        index.info = dataclasses.replace(index.info, retired=())
        index.save()


def end_moves(index: Index) -> None:
    """Every row and error says the path that its source has by now."""
    sources = read_sources(index)
    for path, source in sources.items():
        if source.moved_from:
            index.store.relocate(source.moved_from, path)
            move_errors(index.path, source.moved_from, path)
            sources[path] = dataclasses.replace(source, moved_from="")
            write_sources(index, sources)
