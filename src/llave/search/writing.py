"""One process at a time writes to an index; whoever does first ends what another one left when it was killed."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from llave.errors import UserError
from llave.files import remove_leftovers
from llave.search.index import Index
from llave.search.known_errors import move_errors
from llave.search.sources import read_sources, write_sources

__all__ = ["end_moves", "writing"]


@contextmanager
def writing(index: Index) -> Iterator[None]:
    """The index is this process's alone.

    Raises:
        UserError: it is another one's.
    """
    try:
        with FileLock(index.path / "write.lock", timeout=0):
            remove_leftovers(index.path)
            end_moves(index)
            yield
    except Timeout:
        raise UserError(f"{index.path}: another process writes to this index; wait until it is done") from None


def end_moves(index: Index) -> None:
    """Every row and error says the path that its source has by now."""
    sources = read_sources(index)
    for path, source in sources.items():
        if source.moved_from:
            index.store.relocate(source.moved_from, path)
            move_errors(index.path, source.moved_from, path)
            sources[path] = dataclasses.replace(source, moved_from="")
            write_sources(index, sources)
