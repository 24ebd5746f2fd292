"""The parts of a bulk run, written to a file and read from it one at a time."""

import hashlib
import json
import operator
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from llave.collection.collection import Part
from llave.storage.location import Location, ObjectPath

__all__ = ["Lines", "PartLines"]


class Lines:
    """Parts as lines of JSON, one by one: millions of names are never in memory at once."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._parts = parts
        self._digest = hashlib.sha256()
        self._number = 0

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            line = (json.dumps(part, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")
            self._digest.update(line)
            self._number += 1
            yield line

    def summary(self) -> dict[str, Any]:
        """Of the lines that were taken."""
        return {"parts": self._number, "parts_sha256": self._digest.hexdigest()}


class PartLines(Sequence[Part]):
    """A JSON value a line. Where each line begins is kept, eight bytes each; what it says is read when it is asked for.

    Args:
        path: of the file, which is not written to meanwhile. One in object storage is copied to a temporary file.
    """

    def __init__(self, path: Location) -> None:
        self._path = path
        self._local = path if isinstance(path, Path) else _copied(path)
        if self._local != path:
            weakref.finalize(self, self._local.unlink, missing_ok=True)
        self._begins = array("q", [0])
        with self._local.open("rb") as file:
            for line in file:
                self._begins.append(self._begins[-1] + len(line))

    def __reduce__(self) -> tuple[type["PartLines"], tuple[Location]]:
        """Another process opens the file itself."""
        return PartLines, (self._path,)

    def __len__(self) -> int:
        return len(self._begins) - 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PartLines) and len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # compared by what the parts say

    @overload
    def __getitem__(self, place: int) -> Part: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Part]: ...
    def __getitem__(self, place: int | slice) -> Part | Sequence[Part]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        number = range(len(self))[place]  # from the end, too, and an IndexError beyond
        with self._local.open("rb") as file:
            file.seek(self._begins[number])
            part: Part = json.loads(file.read(self._begins[number + 1] - self._begins[number]))
            return part


def _copied(path: ObjectPath) -> Path:
    number, name = tempfile.mkstemp(prefix="llave-parts-")
    with open(number, "wb") as file:
        path.copy_to(file)
    return Path(name)
