"""The locks of an index: of a folder, the kernel's; in object storage, a lease (:mod:`llave.storage.lease`)."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from filelock import FileLock, Timeout

from llave.errors import UserError
from llave.storage.lease import leased
from llave.storage.location import Location, ObjectPath

__all__ = ["alone", "creating"]


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
def alone(index: Location) -> Iterator[None]:
    """One process at a time writes to an index.

    Raises:
        UserError: another one does.
    """
    taken = f"{index}: another process writes to this index; wait until it is done"
    if isinstance(index, ObjectPath):
        with leased(index / "write.lock", index, taken=taken):
            yield
        return
    with ExitStack() as held:
        try:
            held.enter_context(FileLock(index / "write.lock", timeout=0))
        except Timeout:
            raise UserError(taken) from None
        yield
