"""A file of this machine or an object, to be read from its start to its end."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from llave.errors import DataError
from llave.storage.client import StorageError
from llave.storage.location import Found, Location, ObjectPath

__all__ = ["of_itself", "opened", "size_of"]

STEP = 8 << 20
"""Bytes of a request, which are in memory at once."""


def opened(path: Location) -> IO[bytes]:
    """The content of a file or an object of any size.

    Raises:
        FileNotFoundError: not there.
        UserError: an object that cannot be read, or is changed meanwhile; also while one reads.
    """
    if not isinstance(path, ObjectPath):
        return path.open("rb")
    if (about := path.head()) is None:
        raise FileNotFoundError(f"{path}: no such object")
    return io.BufferedReader(_Reading(path, about), STEP)


def size_of(path: Location) -> int:
    """Bytes of a file or an object.

    Raises:
        FileNotFoundError: not there.
        UserError: it cannot be known.
    """
    if not isinstance(path, ObjectPath):
        return path.stat().st_size
    if (about := path.head()) is None:
        raise FileNotFoundError(f"{path}: no such object")
    return about.size


@contextmanager
def of_itself(folder: ObjectPath) -> Iterator[None]:
    """What object storage refuses within is the fault of one object, if its folder can still be listed.

    Raises:
        DataError: it is.
        StorageError: it is not: the service, or the network, is what fails.
    """
    try:
        yield
    except StorageError as error:
        next(folder.files(), None)
        raise DataError(str(error)) from None


class _Reading(io.RawIOBase):
    """An object's bytes, a range at a time."""

    def __init__(self, path: ObjectPath, about: Found) -> None:
        self._path, self._about, self._place = path, about, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        end = min(self._place + len(buffer), self._about.size)
        content = self._path.read_range(self._place, end, self._about.tag) if end > self._place else b""
        buffer[: len(content)] = content
        self._place = end
        return len(content)
