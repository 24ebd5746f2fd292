"""What is sorted: items with their names, pictures and, where a model has made them, vectors."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llave.collection.collection import Columns
from llave.collection.entry import BadEntry, Entry, chunks
from llave.collection.open import open_collection
from llave.collection.types import Scalar
from llave.data.door import named
from llave.encode.encoder import Encoder
from llave.encode.forward import Refused
from llave.encode.item import Item, Reading
from llave.encode.thumbnail import thumbnail
from llave.errors import UserError
from llave.progress import Work

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Thing", "Things", "read_things"]

CHUNK = 256
THREADS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """An item.

    Args:
        id: unique.
        key: its name in the folder or table that it comes from.
        name: its path, or its key; shown to people.
        item: its text and its file, as far as that is there.
        content: hash of what a model saw of it; empty where none did.
        fields: what is kept beside it.
    """

    id: str
    key: str
    name: str
    kind: str
    text: str = ""
    item: Item = field(default_factory=Item)
    content: str = ""
    fields: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Things:
    """Items, in a fixed order.

    Args:
        all: of them.
        vector_ND: unit vectors; None where no model was named.
        pictures: gives the thumbnails (WebP) of items by their places; empty of what has none.
        errors: by name, what could not be read.
        unseen: by name, why an item has no picture that should have one; filled by ``pictures``.
        notes: lines for a person.
    """

    all: Sequence[Thing]
    vector_ND: NDArray[np.float32] | None
    pictures: Callable[[Sequence[int]], list[bytes]]
    errors: Mapping[str, str] = field(default_factory=dict)
    unseen: dict[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.all)

    def places(self) -> dict[str, int]:
        """Where an item is, by its id, its path or its key; of several with one name, the first."""
        places: dict[str, int] = {}
        for name in ("id", "name", "key"):
            for place, thing in enumerate(self.all):
                places.setdefault(getattr(thing, name), place)
        return places


def read_things(
    path: str | Path, work: Work, *, model: "SentenceTransformer | None" = None, columns: Columns | None = None
) -> Things:
    """The items of a folder, a table or archives.

    Args:
        model: makes their vectors; without one they have none, and nothing is read yet.

    Raises:
        UserError: nothing there, or the model takes no item at all.
    """
    collection = open_collection(path, columns, sounds=model is None or model.supports("audio"))
    encoder = None if model is None else Encoder(model, prompt=model.prompts.get("document") or "")
    things: list[Thing] = []
    errors: dict[str, str] = {}
    vectors: list[NDArray[np.float32]] = []
    made: dict[str, bytes] = {}
    unseen: dict[str, str] = {}
    seen: set[str] = set()
    work.stage("read" if encoder is None else "embed", collection.size())
    for chunk in chunks(collection, CHUNK):
        entries: list[Entry] = []
        for entry in chunk:
            if isinstance(entry, BadEntry):
                errors[entry.key] = entry.message
            elif entry.key in seen:
                errors[f"{entry.key} (again)"] = "a second item of this id; ids must be unique"
            else:
                seen.add(entry.key)
                entries.append(entry)
        small: dict[int, bytes] = {}
        items = [entry.item for entry in entries]
        outcomes = [None] * len(items) if encoder is None else encoder.encode(items, thumbnails=small)
        for place, (entry, outcome) in enumerate(zip(entries, outcomes, strict=True)):
            if isinstance(outcome, Refused):
                errors[entry.key] = outcome.reason
                continue
            if outcome is not None:
                vectors.append(outcome)
                made[entry.key] = small.get(place, b"")
            name, item = entry.name or entry.key, entry.item
            things.append(
                Thing(
                    id=entry.key,
                    key=entry.key,
                    name=name,
                    kind=item.kind,
                    text=item.text,
                    item=item,
                    fields=entry.fields,
                )
            )
        work.advance(len(chunk))
    if not things:
        first = f"; the first error: {next(iter(errors.values()))}" if errors else ""
        raise UserError(f"{path}: nothing to sort there{first}")

    def pictures(places: Sequence[int]) -> list[bytes]:
        if encoder is not None:
            return [made[things[place].id] for place in places]
        found = []
        with ThreadPoolExecutor(THREADS, thread_name_prefix="look") as pool:
            for place, picture in zip(
                places, pool.map(lambda place: _picture(things[place].item), places), strict=True
            ):
                if isinstance(picture, UserError):
                    unseen[things[place].name] = str(picture)
                found.append(b"" if isinstance(picture, UserError) else picture)
        return found

    left_out = [f"left out: {number:,} {what}" for what, number in collection.left_out.items()]
    return Things(
        all=things,
        vector_ND=np.stack(vectors) if vectors else None,
        pictures=pictures,
        errors=errors,
        unseen=unseen,
        notes=[*collection.notes, *left_out],
    )


def _picture(item: Item) -> bytes | UserError:
    """A thumbnail, empty of a text and of a sound; or why there is none."""
    if item.kind in ("text", "audio"):
        return b""
    try:
        with named(str(item.file or item.kind), "cannot read"):
            return thumbnail(item.load(Reading()))
    except UserError as error:
        return error
