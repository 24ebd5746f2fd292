"""Texts that are longer than a model reads, as several entries."""

import dataclasses
from collections.abc import Iterable, Iterator

from llave.collection.entry import BadEntry, Entry
from llave.encode.tokens import Tokens

__all__ = ["in_parts"]


def in_parts(
    entries: Iterable[Entry | BadEntry], tokens: Tokens, chunk_tokens: int | None
) -> Iterator[Entry | BadEntry]:
    """Entries, a text of more than ``chunk_tokens`` tokens as several: ``NAME#part=1``, ``NAME#part=2``, …

    A text beside a picture or video stays whole, since both are one item. None leaves everything as it is.
    """
    for entry in entries:
        if chunk_tokens is None or isinstance(entry, BadEntry) or entry.item.modality != "text":
            yield entry
            continue
        pieces = tokens.split(entry.item.text, chunk_tokens)
        if len(pieces) == 1:
            yield entry
            continue
        for number, piece in enumerate(pieces, start=1):
            part = f"#part={number}"
            item = dataclasses.replace(entry.item, text=piece)
            yield dataclasses.replace(entry, key=entry.key + part, name=(entry.name or entry.key) + part, item=item)
