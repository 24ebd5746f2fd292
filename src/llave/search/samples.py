"""A fixed sample of an index's vectors for each filter that was asked for last: what histograms are made of."""

import threading
from collections import OrderedDict
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from llave.search.filters import Filter
from llave.search.kept import Kept, keep
from llave.search.store import VectorStore

__all__ = ["Samples"]

FILTERS = 4
"""Samples that are kept, one per filter."""


class Samples:
    """Vectors of a store. Safe among threads."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Filter, int], Kept[NDArray[np.float32]]] = OrderedDict()

    def get(self, version: Hashable, filter: Filter, most: int) -> NDArray[np.float32]:
        """Vectors (N, D) of at most ``most`` items that pass, as they are in a version of the index."""
        with self._lock:
            known = self._kept.get((filter, most))
        if known is None or not known.serves(version):
            known = keep(version, lambda: self._store.vectors(limit=most, conditions=filter)[1])
            with self._lock:
                self._kept[filter, most] = known
                while len(self._kept) > FILTERS:
                    self._kept.popitem(last=False)
        return known.value
