"""All training rows of a run, numbered one data set after the other."""

import bisect
import hashlib
import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from llave.data.train_table import TrainTable

__all__ = ["Corpus"]


class Corpus:
    """Tables by name; row ``i`` of the corpus is row ``index`` of one of them."""

    def __init__(self, tables: Mapping[str, TrainTable]) -> None:
        self.tables = dict(tables)
        self._names = list(self.tables)
        self._ends = list(itertools.accumulate(len(table) for table in self.tables.values()))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def locate(self, row: int) -> tuple[str, int]:
        """Data set of a row, and its index in that table."""
        number = bisect.bisect_right(self._ends, row)
        return self._names[number], row - (self._ends[number - 1] if number else 0)

    def number(self, name: str, index: int) -> int:
        """The row of the corpus that is this one of a table; :meth:`locate` the other way."""
        return self._ends[self._names.index(name)] - len(self.tables[name]) + index

    def ids(self) -> dict[str, NDArray[np.int64]]:
        """Content ids of query and positive, (N, 2), by data set."""
        return {name: table.ids() for name, table in self.tables.items()}

    def another(self, name: str, index: int, attempt: int, seed: int) -> int:
        """Some row of the same table, a function of the arguments alone."""
        digest = hashlib.blake2b(f"{seed} {name} {index} {attempt}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % len(self.tables[name])
