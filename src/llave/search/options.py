"""What a run of ``llave index`` is told, and what it reports."""

from dataclasses import dataclass, field

from llave.data.images import MAX_PIXELS
from llave.search.words import Words

__all__ = ["EXACT_BELOW", "BuildOptions", "BuildReport"]

EXACT_BELOW = 20_000
"""With fewer rows every one is compared: exact, and fast enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How an index is made and brought up to date.

    Args:
        item_prompt: before every item; None is the model's own for documents. This and the next six hold for the whole
            life of an index.
        query_prompt: before every query; None is the model's own for queries.
        num_frames: of a video; None is 8.
        qdrant: address of a Qdrant server; None is LanceDB in the index's folder.
        postgres: address of a PostgreSQL database with pgvector, instead; a password in it is kept nowhere.
        collection: name of the collection or table there.
        chunk_tokens: longer texts become several items; None leaves them whole, and their ends unread.
        batch_size: items of a forward pass at most.
        tokens_per_batch: tokens of one at most; None fits the device.
        max_pixels: of a picture; one with more is left out.
        check_content: read files whose size and time are as before, too.
        allow_empty: remove everything of this source if it has nothing any more, as an unmounted disk looks.
        exact_below: with fewer rows, search compares all of them.
        words: what a keyword search reads of an item; None is as before, everything at first.
        weigh: measure how words and vectors are best weighed, on queries made of the index's own items.
        make_map: compute the map.
        seed: of the map and of the queries that measure recall.
        progress: show how far it is.
    """

    item_prompt: str | None = None
    query_prompt: str | None = None
    num_frames: int | None = None
    qdrant: str | None = None
    postgres: str | None = None
    collection: str = "items"
    chunk_tokens: int | None = None
    batch_size: int = 64
    tokens_per_batch: int | None = None
    max_pixels: int = MAX_PIXELS
    check_content: bool = False
    allow_empty: bool = False
    exact_below: int = EXACT_BELOW
    words: Words | None = None
    weigh: bool = True
    make_map: bool = True
    seed: int = 0
    progress: bool = True


@dataclass
class BuildReport:
    """What a run did, in items.

    Args:
        errors: by key; such an item is not in the index.
        known: keys of those that failed before, with the same content.
        left_out: what the source holds and no item was made of: how much of it, by what it is.
        notes: how the source was read, where that was not certain.
        cut: texts that are longer than the model reads.
        cut_sounds: sounds that are longer than it hears.
    """

    added: int = 0
    changed: int = 0
    refreshed: int = 0
    unchanged: int = 0
    removed: int = 0
    errors: dict[str, str] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    cut: int = 0
    cut_sounds: int = 0

    def __str__(self) -> str:
        parts = [
            f"{getattr(self, name):,} {name}" for name in ("added", "changed", "refreshed", "unchanged", "removed")
        ]
        known = f" ({len(self.known):,} of them known)" if self.known else ""
        return ", ".join(parts) + (f", {len(self.errors):,} with errors{known}" if self.errors else "")
