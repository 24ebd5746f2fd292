"""What was made of one version of an index, and how long it may stand in for the next."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Kept", "keep"]

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
