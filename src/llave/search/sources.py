"""The sources of an index: the folders, tables and archives that its items come from, in ``sources.json``.

An item's id is made of its source's *name* and its key there. The name is the path at which the source was first
indexed, and stays when the source moves; so ids stay, too.
"""

import dataclasses
import datetime
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from llave.collection.collection import Columns
from llave.collection.tar import tar_files
from llave.collection.types import FieldType
from llave.data.tables import is_table
from llave.errors import UserError
from llave.files import write_json
from llave.storage.client import StorageError
from llave.storage.location import Location, ObjectPath, location

if TYPE_CHECKING:
    from llave.search.index import Index
    from llave.search.store import VectorStore

__all__ = [
    "Source",
    "find_source",
    "fresh_source",
    "full_path",
    "item_of_file",
    "read_sources",
    "root_of",
    "updated",
    "write_sources",
]

FILE = "sources.json"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where items come from.

    Args:
        path: of the folder or table, or the glob of archives; absolute, or an address in object storage.
        name: that ids are made of.
        columns: as the table was read the last time.
        updated: when a run last came to its end, in UTC; empty if none has.
        moved_from: the path that rows still have which a move has not reached, or empty.
        types: of its fields, as the last run found them; None of a source that no run has come to the end of since
            types are kept.
    """

    path: str
    name: str
    columns: Columns = field(default_factory=Columns)
    updated: str = ""
    moved_from: str = ""
    types: Mapping[str, FieldType] | None = None

    @property
    def there(self) -> bool:
        """Whether it is where it was.

        Raises:
            UserError: it is in object storage, and that cannot be known.
        """
        path = location(self.path)
        try:
            return bool(tar_files(path)) or path.exists()
        except StorageError:
            raise
        except UserError:  # no such archive
            return False


def full_path(path: str | Location) -> str:
    """As sources are known by."""
    return str(location(path).resolve())


def root_of(source: str) -> Location:
    """The folder that a source's files are in, links followed; in object storage, by the address alone."""
    path = location(source)
    if isinstance(path, ObjectPath):
        return path.parent if is_table(Path(path.name)) or path.suffix == ".tar" else path
    return (path if path.is_dir() else path.parent).resolve()


def item_of_file(store: "VectorStore", path: Path) -> str | None:
    """The id of the item whose file this is, links followed; None if there is none."""
    asked = str(path.resolve())
    columns = store.column(["id", "source", "file"])
    roots = {source: str(root_of(source)) for source in set(columns["source"])}
    files = zip(columns["id"], columns["source"], columns["file"], strict=True)
    return next((row_id for row_id, source, file in files if file and f"{roots[source]}{os.sep}{file}" == asked), None)


def read_sources(index: "Index") -> dict[str, Source]:
    """By path, in the order in which they were first indexed. An index of before has none written down: those of its
    rows.

    Raises:
        UserError: the file is damaged.
    """
    file = index.path / FILE
    if not file.is_file():
        return {path: Source(path=path, name=path) for path in dict.fromkeys(index.store.column(["source"])["source"])}
    try:
        loaded = json.loads(file.read_text("utf-8"))
        return {path: _source(path, about) for path, about in loaded.items()}
    except Exception as error:  # whatever stands in it
        raise UserError(f"{file}: damaged, or of another version of llave ({error})") from None


def write_sources(index: "Index", sources: Mapping[str, Source]) -> None:
    """Whole or not at all."""
    write_json(index.path / FILE, {path: dataclasses.asdict(source) for path, source in sources.items()})


def find_source(index: "Index", sources: Mapping[str, Source], path: str | Location) -> Source:
    """The source of a path, written in full or not.

    Raises:
        UserError: there is none; the message lists those there are.
    """
    source = sources.get(full_path(path)) or sources.get(str(path))
    if source is None:
        there = ", ".join(sources) or "none"
        raise UserError(f"{index.path}: has no items of {full_path(path)}; its sources are: {there}")
    return source


def fresh_source(sources: Mapping[str, Source], path: str, columns: Columns) -> Source:
    """One that is not there yet; where another one was first indexed at its path and has moved, under another name."""
    taken = {source.name for source in sources.values()}
    names = (path if number == 1 else f"{path}#{number}" for number in range(1, len(taken) + 2))
    return Source(path=path, name=next(name for name in names if name not in taken), columns=columns)


def updated(source: Source) -> Source:
    """A run has come to its end now."""
    return dataclasses.replace(source, updated=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))


def _source(path: str, about: Mapping[str, Any]) -> Source:
    """Checked, because the file may be anybody's."""
    source = Source(**{**about, "columns": Columns(**about["columns"])})
    texts = (source.path, source.name, source.updated, source.moved_from)
    columns = [value for value in dataclasses.astuple(source.columns) if value is not None]
    types_known = all(kind in get_args(FieldType) for kind in (source.types or {}).values())
    if source.path != path or not types_known or not all(isinstance(text, str) for text in (*texts, *columns)):
        raise TypeError(f"{path!r:.80} is not described as a source is")
    return source
