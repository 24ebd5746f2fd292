"""An index that other processes write, replace and remove while it is served."""

import asyncio
import hashlib
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

from llave.data.door import reason_of
from llave.errors import UserError
from llave.search.info import INFO, LANCE
from llave.search.maker import Maker, check_model
from llave.search.projection import FILE as MAP
from llave.serving.errors import ApiError
from llave.storage.changes import mark
from llave.storage.location import Location, ObjectPath

if TYPE_CHECKING:
    from llave.search.index import Index

__all__ = ["Watched"]

SECONDS = 1.0
"""Between two looks."""
log = logging.getLogger("llave.serving")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What an index was when it was looked at."""

    identity: object
    state: object
    version: str


class Watched:
    """The index in a folder as it is now. Safe among threads.

    A look costs the state of some files. Whatever is learnt from the index belongs to its :attr:`version`. One that was
    replaced is opened anew, if a model that is served made its vectors; one that is gone is none until it is back. Both
    are said once. The folder may be a link: it is followed once for every index that is opened, so that an index whose
    link leads elsewhere by now is still read as a whole.
    """

    def __init__(self, index: "Index") -> None:
        self._path = index.path
        folder = _followed(index.path)
        self._index = index if folder == index.path else index.refreshed(anew=True, path=folder)
        self._makers: dict[tuple[str, int | None, str], str] = {_maker_of(index): ""}
        self._seen = WeakKeyDictionary({self._index: _look_at(self._index, _identity(folder), None)})
        self._lacks: Literal["", "index", "model"] = ""
        self._looking = threading.Lock()

    @property
    def index(self) -> "Index":
        """The index.

        Raises:
            ApiError: 503, it is gone.
        """
        if self._lacks:
            message = "the index is not there at present; try again soon"
            raise ApiError(503, message, code="index_unavailable", retry_after=2)
        return self._index

    @property
    def version(self) -> str:
        """Another word whenever what a search may find or show has changed."""
        return self.version_of(self._index)

    def version_of(self, index: "Index") -> str:
        """The version that an index had when it was last looked at."""
        return self._seen[index].version

    def is_still(self, index: "Index") -> bool:
        """Whether the files that it is read from are those that it was opened from, so that an answer is of it alone.

        One that is put in its place by name is what an open table reads next.
        """
        try:
            return _identity(index.path) == self._seen[index].identity
        except OSError:
            return False

    @property
    def is_there(self) -> bool:
        """Whether it can be searched."""
        return not self._lacks

    @property
    def model(self) -> str:
        """The name of the served model that made the vectors."""
        return self._makers[_maker_of(self._index)]

    def use_models(self, models: Mapping[str, Maker]) -> None:
        """The models that are served, by name; the index may be gone meanwhile.

        Raises:
            UserError: none of them made the index, or the one that did was retrained since.
        """
        makers = {(made.fingerprint, made.dimension, made.dtype): name for name, made in models.items()}
        if _maker_of(self._index) not in makers:
            check_model(self._path, self._index.info, next(iter(models.values())))  # which says what differs
        self._makers = makers

    async def watch(self) -> None:
        """Look again and again, in a thread."""
        while True:
            await asyncio.sleep(SECONDS)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """See what the index is now."""
        with self._looking:
            path = self._path
            try:
                folder = _followed(path)
                identity = _identity(folder)
                known = self.is_there and (folder, identity) == (self._index.path, self._seen[self._index].identity)
                index = self._index.refreshed(anew=not known, path=folder)
                seen = _look_at(index, identity, self._seen.get(index))
                items = 0 if self.is_there else index.count()
            except Exception as error:  # a store that reads what is being removed raises what it likes
                reason = str(error) if isinstance(error, UserError) else reason_of(error)
                self._miss("index", f"gone ({reason}); searches are answered with 503 until it is back")
                return
            if _maker_of(index) not in self._makers:
                self._miss("model", f"now made by another model, {index.info.model}; restart the server with it")
                return
            if not self.is_there:
                log.warning("index %s: back, with %d items", path, items)
            self._seen[index] = seen
            self._index, self._lacks = index, ""

    def _miss(self, what: Literal["index", "model"], why: str) -> None:
        """Say it once: while a folder is being removed, every look finds another reason."""
        if self._lacks != what:
            log.error("index %s: %s", self._path, why)
        self._lacks = what


def _maker_of(index: "Index") -> tuple[str, int | None, str]:
    """What a model must share with an index for scores to mean something."""
    return index.info.fingerprint, index.info.dimension, index.info.dtype


def _followed(path: Location) -> Location:
    """Where a link leads to now; any other folder as it is named."""
    if isinstance(path, ObjectPath):
        return path
    real = path.resolve()
    return path if real == path.absolute() else real


def _identity(path: Location) -> object:
    """Another value once the folder's files were replaced by others, which an open table does not notice.

    Raises:
        OSError: it is gone, in whole or in part.
    """
    if isinstance(path, ObjectPath):
        return mark(path / INFO), sorted((path / LANCE).folders())
    about = (path / INFO).stat()
    tables = path / LANCE
    inodes = sorted((table.name, table.stat().st_ino) for table in tables.iterdir()) if tables.is_dir() else None
    if inodes == []:
        raise FileNotFoundError(tables)
    return about.st_ino, about.st_ctime_ns, inodes


def _look_at(index: "Index", identity: object, before: _Seen | None) -> _Seen:
    """What it is now. The version is of what it holds, so that servers of its copies say the same one.

    Args:
        before: what it was, if it was looked at before.
    """
    state = index.version()
    if before is not None and (identity, state) == (before.identity, before.state):
        return before
    content: list[object] = [index.info.id, index.store.version()]
    if index.info.id:
        content += [file.read_bytes() for name in (INFO, MAP) if (file := index.path / name).is_file()]
    else:
        content.append(state)
    digest = hashlib.sha256()
    for each in content:
        digest.update(each if isinstance(each, bytes) else repr(each).encode())
    return _Seen(identity, state, digest.hexdigest()[:16])
