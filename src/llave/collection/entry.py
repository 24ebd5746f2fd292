"""An item in a collection: its name there, and what is kept beside its vector."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llave.collection.types import Scalar
from llave.data.identity import legible
from llave.encode.item import Item
from llave.errors import DataError
from llave.storage.location import Location, ObjectPath
from llave.terminal import printable

__all__ = ["BadEntry", "Entry", "chunks", "stamp_of", "state_of"]

SHOWN = 400
"""Characters of the beginning and of the end of a long message."""
CHUNK_BYTES = 256 * 1024**2
"""Of pictures and films that come as bytes."""


@dataclass(frozen=True, slots=True)
class BadEntry:
    """What could not be read: its name in the collection, and why.

    Args:
        hides: more than itself, such as all files of a folder; nobody can say that those are gone.
        stamp: as an entry's.
    """

    key: str
    message: str
    hides: bool = False
    stamp: str = ""

    def __post_init__(self) -> None:
        """Names in archives may hold anything; a message is a line."""
        object.__setattr__(self, "key", legible(self.key))
        words = printable(legible(self.message))
        long = len(words) > 2 * SHOWN
        object.__setattr__(self, "message", f"{words[:SHOWN]} … {words[-SHOWN:]}" if long else words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An item and where it stands.

    Args:
        key: its name in the collection, e.g. the path in a folder, or the id in a table. Unique there.
        item: what is embedded.
        name: what a person is shown of where it comes from; usually the path.
        stamp: equal as long as the content surely is (size and time of the file); empty where nothing tells.
        fields: metadata, scalars by name.
    """

    key: str
    item: Item
    name: str = ""
    stamp: str = ""
    fields: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.key, self.name):
            if legible(name) != name:
                raise DataError(f"{name!r:.80} is not in Unicode; rename it")

    def digest(self) -> str:
        """A hash of what is kept beside the vector."""
        kept = [self.name, sorted(self.fields.items())]
        return hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:16]


def chunks(entries: Iterable[Entry | BadEntry], size: int) -> Iterator[list[Entry | BadEntry]]:
    """``size`` entries each, fewer where their bytes fill the memory."""
    chunk: list[Entry | BadEntry] = []
    held = 0
    for entry in entries:
        chunk.append(entry)
        if isinstance(entry, Entry):
            held += entry.item.num_bytes
        if len(chunk) == size or held >= CHUNK_BYTES:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def state_of(files: Iterable[tuple[str, Location]]) -> str:
    """A hash of names, sizes and times of files, and of the tags of objects; one that is not there any more counts as
    such."""
    digest = hashlib.sha256()
    for name, path in files:
        try:
            if isinstance(path, ObjectPath):
                found = path.head()
                about = "gone" if found is None else f"{found.size}:{found.tag}"
            else:
                stat = path.stat()
                about = f"{stat.st_size}:{stat.st_mtime_ns}"
        except OSError:
            about = "gone"
        digest.update(f"{name}:{about}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def stamp_of(file: Path, text: str) -> str:
    """Size and time of a file, and a hash of the text beside it."""
    stat = file.stat()
    return f"{stat.st_size}:{stat.st_mtime_ns}:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
