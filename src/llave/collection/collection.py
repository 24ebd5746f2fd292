"""What `llave index` and `llave embed` read: entries, in parts.

A collection is cut into parts that are the same whenever and wherever they are computed, as long as the files are.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from llave.collection.entry import BadEntry, Entry

__all__ = ["Collection", "Columns", "Part"]

Part = dict[str, Any]
"""Describes some entries of a collection, in JSON's types."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns of a table hold what; null looks for the usual names.

    Args:
        id: a name of each row, unique; null makes one of the content.
        text: text, caption, …
        image: a path relative to the table's folder, or the bytes (also Hugging Face's {bytes, path}).
        video: a path.
        audio: a path relative to the table's folder, or the bytes (also Hugging Face's {bytes, path}).
        fields: columns kept as metadata, with commas between; null is all that hold numbers or texts.
    """

    id: str | None = None
    text: str | None = None
    image: str | None = None
    video: str | None = None
    fields: str | None = None
    audio: str | None = None


class Collection(Protocol):
    """Entries, in parts."""

    notes: Sequence[str]
    """How it is read, where that was not certain: lines for a person."""

    address: str
    """How a person names the folder that files are in: where they are in object storage, those here are copies."""

    left_out: Counter[str]
    """What there was that no entry was made of, by what it is, as of the last time that all entries were listed."""

    @property
    def root(self) -> Path:
        """The folder that files are in; nothing outside it is read."""

    def parts(self, size: int) -> Iterator[Part]:
        """Of at most ``size`` entries each, where the form of the collection allows."""

    def read(self, part: Part) -> Iterator[Entry | BadEntry]:
        """The entries of a part, in order."""

    def state(self) -> str:
        """A hash of what tells that something has changed: names, sizes and times of the files."""

    def size(self) -> int:
        """How many entries there are, about: a document or an archive may count as one."""

    def __iter__(self) -> Iterator[Entry | BadEntry]:
        """All entries, in the order of the parts."""
