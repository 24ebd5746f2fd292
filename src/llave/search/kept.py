"""What was made of one version of an index, and how long it may stand in for the next."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Kept", "KeptFew", "keep"]

Value = TypeVar("Value")
REST = 4.0
"""Nothing is made anew before so many times its own cost has passed: a writer that commits every second takes no more
than a fifth of one thread from the readers."""


@dataclass(frozen=True, slots=True)
class Kept(Generic[Value]):
    """A value.

    Args:
        version: of the index that it was made of.
        until: on the monotonic clock, when it stops to serve for other versions.
    """

    version: Hashable
    value: Value
    until: float

    def serves(self, version: Hashable) -> bool:
        """Whether it is of this version, or too young to be made anew."""
        return self.version == version or time.monotonic() < self.until


def keep(version: Hashable, make: Callable[[], Value]) -> Kept[Value]:
    """Make a value of a version of the index."""
    start = time.monotonic()
    value = make()
    end = time.monotonic()
    return Kept(version, value, end + REST * (end - start))


class KeptFew(Generic[Value]):
    """The values that were asked for last, each by a key. Safe among threads.

    Args:
        most: that are kept.
        exact: one of another version is made anew at once.
    """

    def __init__(self, most: int, *, exact: bool = False) -> None:
        self._most = most
        self._exact = exact
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Kept[Value]] = OrderedDict()

    def get(self, version: Hashable, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key in a version of the index."""
        with self._lock:
            known = self._kept.get(key)
        if known is None or not (known.version == version if self._exact else known.serves(version)):
            known = keep(version, make)
        with self._lock:
            self._kept[key] = known
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return known.value
