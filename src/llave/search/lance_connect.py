"""A LanceDB database: a folder on this machine, or one in object storage; and what its reads and writes there raise."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar, cast

from llave.errors import UserError
from llave.storage.client import SERVICES, remote
from llave.storage.location import ObjectPath, is_address, location

try:
    import lancedb
except ImportError:
    raise UserError("an index needs the package lancedb: pip install 'llave[search]'") from None

__all__ = ["connect", "door", "said_in_a_line"]

Opened = TypeVar("Opened")


def connect(uri: object, *, fresh: timedelta | None = None) -> Any:
    """The database at a path or address.

    Args:
        fresh: a reader sees what a writer committed after this time at most; None is never.

    Raises:
        UserError: an endpoint in clear text that the user has not allowed.
    """
    place = location(str(uri))
    options = SERVICES[place.scheme].lance_options() if isinstance(place, ObjectPath) else None
    return lancedb.connect(str(uri), read_consistency_interval=fresh, storage_options=options)


def door(uri: object) -> AbstractContextManager[None]:
    """Of object storage (:func:`~llave.storage.client.remote`), where a database is there; else none."""
    return remote(str(uri)) if is_address(uri) else nullcontext()


def said_in_a_line(open_store: Callable[[], Opened], uri: object) -> Opened:
    """A store that is opened; in object storage, every call of it that fails for the network, for want of rights or
    because the server is busy raises a UserError that says so."""
    if not isinstance(uri, ObjectPath):
        return open_store()
    with remote(str(uri)):
        return cast(Opened, _Named(open_store(), str(uri)))


class _Named:
    """Has all methods of a store, each within the door of object storage."""

    def __init__(self, store: Any, name: str) -> None:
        self._store, self._name = store, name

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            with remote(self._name):
                result = found(*args, **options)
            return self._each(result) if isinstance(result, Iterator) else result

        return call

    def _each(self, items: Iterator[Any]) -> Iterator[Any]:
        """What is read as it is taken."""
        with remote(self._name):
            yield from items
