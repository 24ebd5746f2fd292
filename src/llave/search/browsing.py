"""Looking through an index without a query: its items in an order, and the folders that they lie in."""

import hashlib
from bisect import bisect_left
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llave.search.filters import Filter
from llave.search.kept import KeptFew

if TYPE_CHECKING:
    from llave.search.store import VectorStore

__all__ = ["Browsing", "Folder", "folders_in"]

ORDERS = 4
"""That are kept."""
LAST = "\U0010ffff"
"""Sorts after whatever a path goes on with."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of items.

    Args:
        path: with a slash at its end: the items are those whose path starts so.
        count: of items in it and below.
        folders: whether there are folders in it.
    """

    path: str
    count: int
    folders: bool

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path[:-1].rpartition("/")[2]


class Browsing:
    """A store's items in the orders that were asked for last, kept so that a later page costs as much as the first."""

    def __init__(self, store: "VectorStore") -> None:
        self._store = store
        self._orders = KeptFew[list[str]](ORDERS, exact=True)
        self._paths = KeptFew[list[str]](1)

    def ids(self, version: Hashable, conditions: Filter, sort: str | None, seed: int | None) -> Sequence[str]:
        """Ids of the items that pass.

        Args:
            version: of the index.
            sort: a field, ``-field`` for the highest first, None for the order of their keys.
            seed: of a random order instead; which of two items is first is the same whoever else passes.
        """
        return self._orders.get(version, (conditions, sort, seed), lambda: self._ids(conditions, sort, seed))

    def folders(self, version: Hashable, under: str) -> list[Folder]:
        """The folders right under another one, by name; none where the user has a field ``path``, which is what filters
        then take."""
        return folders_in(self._paths.get(version, None, self._sorted_paths), under)

    def _ids(self, conditions: Filter, sort: str | None, seed: int | None) -> list[str]:
        if seed is not None:
            key = str(seed).encode()
            return sorted(
                self._store.ordered(conditions=conditions),
                key=lambda row_id: hashlib.blake2b(row_id.encode(), digest_size=8, key=key).digest(),
            )
        field, down = (sort or "").removeprefix("-"), (sort or "").startswith("-")
        return self._store.ordered(conditions=conditions, sort=field or None, descending=down)

    def _sorted_paths(self) -> list[str]:
        if "path" in self._store.fields():
            return []
        return sorted(path for path in self._store.column(["path"])["path"] if path)


def folders_in(paths: Sequence[str], under: str = "") -> list[Folder]:
    """The folders right under another one, by name.

    Args:
        paths: sorted; they are not walked through, but leapt over folder by folder.
        under: "" or a folder's path, with its slash.
    """
    found: list[Folder] = []
    place, end = bisect_left(paths, under), bisect_left(paths, under + LAST)
    while place < end:
        name, slash, _ = paths[place][len(under) :].partition("/")
        if not slash:
            place += 1
            continue
        path = f"{under}{name}/"
        after = bisect_left(paths, path + LAST)
        found.append(Folder(path, after - place, _has_folder(paths[place:after], path)))
        place = after
    return found


def _has_folder(paths: Sequence[str], folder: str) -> bool:
    return any("/" in path[len(folder) :] for path in paths)
