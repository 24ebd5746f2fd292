"""Items in whose batch a model's process ended: one of them may end the next one, too.

Such an item runs again, alone, so that a second end is its own and costs no neighbour. After that it is refused for a
while: what kills a process costs at most one of them in that time, however often it is asked for.
"""

import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

__all__ = ["Lost", "Suspects"]

REFUSED_SECONDS = 60.0
MOST = 4096
"""Items that are remembered; the oldest are forgotten."""


@dataclass(frozen=True, slots=True)
class Lost:
    """An item without a result: two processes ended with it.

    Args:
        seconds: until it is tried again.
    """

    seconds: float


class Suspects:
    """What is known of items by their keys, in the event loop's thread."""

    def __init__(self) -> None:
        self._until: OrderedDict[int, float] = OrderedDict()  # by hash: keys hold whole texts

    def __bool__(self) -> bool:
        return bool(self._until)

    def __contains__(self, key: Hashable) -> bool:
        return hash(key) in self._until

    def add(self, key: Hashable) -> Lost | None:
        """A process ended with the item; if it was a suspect already, and so alone, it is refused now."""
        known = self._until.pop(hash(key), None)
        self._until[hash(key)] = 0.0 if known is None else time.monotonic() + REFUSED_SECONDS
        if len(self._until) > MOST:
            self._until.popitem(last=False)
        return self.refused(key)

    def clear(self, key: Hashable) -> None:
        """It came through."""
        self._until.pop(hash(key), None)

    def refused(self, key: Hashable) -> Lost | None:
        """Whether it is refused at present."""
        left = self._until.get(hash(key), 0.0) - time.monotonic()
        return Lost(left) if left > 0 else None
