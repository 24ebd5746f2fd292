"""The sources of an index as a user sees and changes them: listed, moved, removed. Nothing is embedded."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from llave.data.pages import split_page
from llave.errors import UserError
from llave.search.index import Index
from llave.search.known_errors import drop_errors
from llave.search.options import EXACT_BELOW
from llave.search.sources import Source, find_source, full_path, read_sources, root_of, write_sources
from llave.search.trust import named_roots, remember, seems_there
from llave.search.writing import end_moves, writing
from llave.storage.location import Location, ObjectPath

__all__ = ["SourceState", "list_sources", "move_source", "remove_source"]


@dataclass(frozen=True, kw_only=True)
class SourceState:
    """A source as it is.

    Args:
        path: of it.
        items: that the index has of it.
        updated: when a run last came to its end, in UTC; empty if none has.
        there: whether the folder, table or archive is where it was; one in object storage that the user has not
            indexed on this machine is not asked, and counts as there.
        missing: items whose file is not; all if the source is not there.
    """

    path: str
    items: int
    updated: str
    there: bool
    missing: int


def list_sources(index: Index) -> list[SourceState]:
    """In the order in which they were first indexed."""
    known = read_sources(index)
    columns = index.store.column(["source", "file"])
    files: dict[str, list[str]] = {path: [] for path in known}
    for path, file in zip(columns["source"], columns["file"], strict=True):
        files.setdefault(path, []).append(file)
    return [_state(index, known.get(path) or Source(path=path, name=path), names) for path, names in files.items()]


def move_source(index: Index, old: str | Location, new: str | Location) -> int:
    """A source has another path by now; its items keep their ids and vectors. How many they are.

    Killed at any moment, the same call, or the next run of ``llave index``, ends it.

    Raises:
        UserError: no such source, nothing at the new path, or it is a source already.
    """
    path = full_path(new)
    begun = read_sources(index).get(path)
    with writing(index):
        sources = read_sources(index)
        if begun is None or begun.moved_from != full_path(old):  # else a call before was killed on its way
            source = find_source(index, sources, old)
            moved = dataclasses.replace(source, path=path, moved_from=source.path)
            if not moved.there:
                raise UserError(f"{path}: nothing there; name the path that {source.path} has now")
            if path in sources:
                raise UserError(
                    f"{index.path}: {path} is one of its sources already; to take out what it has of {source.path}: "
                    f"llave index remove {index.path} {source.path}"
                )
            write_sources(index, {each.path: each for each in (moved if s is source else s for s in sources.values())})
            end_moves(index)
        remember(index.path, index.info.store, {**_named(index), path: root_of(path)})
        index.store.optimize(exact_below=EXACT_BELOW, settings=index.info.settings)
        return sum(1 for _ in index.store.known(path))


def remove_source(index: Index, path: str | Location) -> int:
    """Take out the items of a source, whether it is still on the disk or not. How many they were.

    Raises:
        UserError: no such source.
    """
    with writing(index):
        sources = read_sources(index)
        source = find_source(index, sources, path)
        ids = [row_id for row_id, _ in index.store.known(source.path)]
        index.store.delete(ids)
        drop_errors(index.path, source.path)
        del sources[source.path]
        write_sources(index, sources)
        remember(index.path, index.info.store, _named(index))
        index.store.optimize(exact_below=EXACT_BELOW, settings=index.info.settings)
        return len(ids)


def _named(index: Index) -> dict[str, Location]:
    """Of the sources that there still are, those that the user has named."""
    there = read_sources(index)
    return {path: root for path, root in named_roots(index.path).items() if path in there}


def _state(index: Index, source: Source, files: list[str]) -> SourceState:
    root = root_of(source.path)
    there = seems_there(index.path, source)
    names = [split_page(Path(file))[0].as_posix() for file in files if file]
    if not there:
        missing = len(files)
    elif isinstance(root, ObjectPath) and source.path not in named_roots(index.path):
        missing = 0  # not asked
    elif isinstance(root, ObjectPath):
        listed = {found.key for found in root.files()}
        missing = sum(name not in listed for name in names)
    else:
        missing = sum(not (root / name).exists() for name in names)
    return SourceState(path=source.path, items=len(files), updated=source.updated, there=there, missing=missing)
