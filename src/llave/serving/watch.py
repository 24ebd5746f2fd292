"""An index that other processes write, replace and remove while it is served."""

import asyncio
import hashlib
import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from llave.data.door import reason_of
from llave.encode.cache import model_fingerprint
from llave.errors import UserError
from llave.models.about import dtype_of
from llave.search.info import INFO, LANCE
from llave.serving.errors import ApiError
from llave.storage.location import Location, ObjectPath, mark

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from llave.search.index import Index

__all__ = ["Watched"]

SECONDS = 1.0
"""Between two looks."""
log = logging.getLogger("llave.serving")


class Watched:
    """The index in a folder as it is now. Safe among threads.

    A look costs the state of some files. Whatever is learnt from the index belongs to its :attr:`version`. One that was
    replaced is opened anew, if a model that is served made its vectors; one that is gone is none until it is back. Both
    are said once.
    """

    def __init__(self, index: "Index") -> None:
        self._index = index
        self._makers: dict[tuple[str, int | None, str], str] = {_maker_of(index): ""}
        self._identity, self._version = _identity(index.path), _digest(index)
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
        return self._version

    @property
    def is_there(self) -> bool:
        """Whether it can be searched."""
        return not self._lacks

    @property
    def model(self) -> str:
        """The name of the served model that made the vectors."""
        return self._makers[_maker_of(self._index)]

    def use_models(self, models: "Mapping[str, SentenceTransformer]") -> None:
        """The models that are served, by name; the index may be gone meanwhile.

        Raises:
            UserError: none of them made the index, or the one that did was retrained since.
        """
        makers = {
            (model_fingerprint(model), model.get_embedding_dimension(), dtype_of(model)): name
            for name, model in models.items()
        }
        if _maker_of(self._index) not in makers:
            self._index.check_model(next(iter(models.values())))  # which says what differs
        self._makers = makers

    async def watch(self) -> None:
        """Look again and again, in a thread."""
        while True:
            await asyncio.sleep(SECONDS)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """See what the index is now."""
        with self._looking:
            path = self._index.path
            try:
                identity = _identity(path)
                known = identity == self._identity and self.is_there
                index = self._index.refreshed(anew=not known)
                version = _digest(index)
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
            self._index, self._identity, self._version, self._lacks = index, identity, version, ""

    def _miss(self, what: Literal["index", "model"], why: str) -> None:
        """Say it once: while a folder is being removed, every look finds another reason."""
        if self._lacks != what:
            log.error("index %s: %s", self._index.path, why)
        self._lacks = what


def _maker_of(index: "Index") -> tuple[str, int | None, str]:
    """What a model must share with an index for scores to mean something."""
    return index.info.fingerprint, index.info.dimension, index.info.dtype


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


def _digest(index: "Index") -> str:
    """The version, for addresses and answers."""
    return hashlib.sha256(repr(index.version()).encode()).hexdigest()[:16]
