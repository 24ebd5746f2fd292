"""What an index knows of a source's rows, while the source is brought up to date: some forty bytes a row."""

import functools
import hashlib
import itertools
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from llave.search.store import Known

__all__ = ["KnownRows"]

ID_BYTES, MARK_BYTES = 16, 8
AT_ONCE = 2_000


class KnownRows:
    """Rows by id, each with its content and a mark of its stamp and digest; and which of them have been seen.

    Arrays in the order of the ids, in which one is found by halving: of a million rows a dictionary of texts would take
    600 MB.

    Args:
        rows: ids and what is known of each, once each; contents are hexadecimal. Of contents that are shorter than
            others, as an index of another time may have them, a longer one is told: those items count as changed.
    """

    def __init__(self, rows: Iterable[tuple[str, Known]]) -> None:
        ids, marks, contents = bytearray(), bytearray(), [np.zeros(0, "S1")]
        rest = iter(rows)
        while some := list(itertools.islice(rest, AT_ONCE)):
            ids += b"".join(bytes.fromhex(row_id) for row_id, _ in some)
            marks += b"".join(_mark(known.stamp, known.digest) for _, known in some)
            contents.append(np.array([bytes.fromhex(known.content) for _, known in some], np.bytes_))
        id_N = np.frombuffer(ids, f"S{ID_BYTES}")
        order_N = np.argsort(id_N)
        self._id_N: NDArray[np.bytes_] = id_N[order_N]
        self._mark_N = np.frombuffer(marks, np.uint64)[order_N]
        self._content_N: NDArray[np.bytes_] = np.concatenate(contents)[order_N]
        self._width = self._content_N.itemsize
        self._seen_N = np.zeros(len(id_N), bool)
        self._last: tuple[str, int | None] = ("", None)

    def __len__(self) -> int:
        return len(self._id_N)

    def __contains__(self, row_id: str) -> bool:
        return self._place(row_id) is not None

    def content(self, row_id: str) -> str | None:
        """Of a row; None where there is none."""
        place = self._place(row_id)
        return None if place is None else self._content_N[place].ljust(self._width, b"\0").hex()

    def is_as_before(self, row_id: str, stamp: str, digest: str) -> bool:
        """Whether there is a row with this stamp and digest (but for one chance in 2^64)."""
        place = self._place(row_id)
        return place is not None and self._mark_N[place].tobytes() == _mark(stamp, digest)

    def owner(self, content: str) -> str | None:
        """A row that has a content."""
        order_N, wanted = self._by_content, _bytes(content)
        place = int(np.searchsorted(self._content_N, wanted, sorter=order_N))
        if place == len(order_N) or self._content_N[order_N[place]] != wanted:
            return None
        return self._id(int(order_N[place]))

    def see(self, row_id: str) -> None:
        """The source has this item still; of other ids nothing is kept."""
        self._set(row_id, True)

    def forget(self, row_id: str) -> None:
        """It has not, after all."""
        self._set(row_id, False)

    def has_seen(self, row_id: str) -> bool:
        """Whether there is such a row and the source has it still."""
        place = self._place(row_id)
        return place is not None and bool(self._seen_N[place])

    def any_seen(self) -> bool:
        """Whether the source has any of them still."""
        return bool(self._seen_N.any())

    def unseen(self) -> list[str]:
        """Ids of the rows that the source has no more."""
        return [self._id(int(place)) for place in np.flatnonzero(~self._seen_N)]

    def _set(self, row_id: str, seen: bool) -> None:
        place = self._place(row_id)
        if place is not None:
            self._seen_N[place] = seen

    @functools.cached_property
    def _by_content(self) -> NDArray[np.intp]:
        """Where nothing is new, nobody asks."""
        return np.argsort(self._content_N)

    def _place(self, row_id: str) -> int | None:
        if self._last[0] != row_id:  # of one row several things are asked, one after the other
            wanted = _bytes(row_id)
            place = int(np.searchsorted(self._id_N, wanted))
            found = place < len(self._id_N) and self._id_N[place] == wanted
            self._last = (row_id, place if found else None)
        return self._last[1]

    def _id(self, place: int) -> str:
        return bytes(self._id_N[place]).ljust(ID_BYTES, b"\0").hex()


def _bytes(value: str) -> bytes:
    """As numpy gives them out: without the zeros at the end."""
    return bytes.fromhex(value).rstrip(b"\0")


def _mark(stamp: str, digest: str) -> bytes:
    text = f"{stamp}\0{digest}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=MARK_BYTES).digest()
