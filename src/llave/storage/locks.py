"""Locks of what one process at a time may write: of a folder, the kernel's; in object storage, a lease
(:mod:`llave.storage.lease`)."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from filelock import FileLock, Timeout

from llave.errors import UserError
from llave.storage.lease import leased
from llave.storage.location import Location, ObjectPath

__all__ = ["WRITE_LOCK", "alone", "creating"]

WRITE_LOCK = "write.lock"
"""Its name in the folder."""


@contextmanager
def creating(index: Location) -> Iterator[None]:
    """One process at a time makes an index at a place; others wait."""
    if isinstance(index, ObjectPath):
        with leased(index / "create.lock", index, taken="", wait=True):
            yield
        return
    with FileLock(index / "create.lock"):
        yield


@contextmanager
def alone(folder: Location, where: str = "there") -> Iterator[None]:
    """One process at a time writes there.

    Args:
        where: it writes, in the message.

    Raises:
        UserError: another one does.
    """
    taken = f"{folder}: another process writes {where}; wait until it is done"
    if isinstance(folder, ObjectPath):
        with leased(folder / WRITE_LOCK, folder, taken=taken):
            yield
        return
    with ExitStack() as held:
        try:
            held.enter_context(FileLock(folder / WRITE_LOCK, timeout=0))
        except Timeout:
            raise UserError(taken) from None
        yield
