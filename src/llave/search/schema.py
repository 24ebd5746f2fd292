"""The types of an index's fields follow its sources: what a source has now counts, not what it once had."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from llave.collection.types import FieldType, Scalar, join, kept_as_text, type_of
from llave.search.sources import Source, read_sources, write_sources

if TYPE_CHECKING:
    from llave.search.index import Index

__all__ = ["Schema"]


class Schema:
    """What the entries of one source have in their fields, and in the end the store's fields by that.

    Args:
        source: which is brought up to date; all its entries are to be seen.
    """

    def __init__(self, index: "Index", source: Source) -> None:
        self._index, self._store, self._source = index, index.store, source
        self._before = index.store.fields()
        self._types: dict[str, FieldType] = {}
        self._mixed: dict[str, set[FieldType]] = {}

    def see(self, fields: Mapping[str, Scalar]) -> None:
        """Of an entry."""
        for name, value in fields.items():
            if value is None:
                continue
            kind = type_of(value)
            known = self._types.setdefault(name, kind)
            if known != kind:
                self._mixed.setdefault(name, {known}).add(kind)
                self._types[name] = join(known, kind)

    def settle(self, *, complete: bool) -> list[str]:
        """Give the store's fields the types that they have in all sources together, remove those that none has any
        more, and say in a line for each what has changed.

        Args:
            complete: all entries of the source were seen.
        """
        sources = read_sources(self._index)
        if not complete:
            self._types = _joined([self._types, self._source.types or {}])
        by_source = {path: self._of(path, sources.get(path)) for path in set(self._store.column(["source"])["source"])}
        by_source[self._source.path] = self._types
        wanted = _joined(by_source.values())
        now = self._store.fields()
        gone = [name for name in now if name not in wanted and name not in self._index.info.given]
        changed = {name: kind for name, kind in wanted.items() if name in now and now[name] != kind}
        self._store.retype({**dict.fromkeys(gone), **changed})
        own = dataclasses.replace(sources.get(self._source.path, self._source), types=self._types)
        write_sources(self._index, {**sources, own.path: own})
        return [line for name in wanted if (line := self._note(name, wanted[name], by_source))]

    def _of(self, path: str, source: Source | None) -> Mapping[str, FieldType]:
        """The types of a source; of one whose are not kept, those of the store that its rows have values of."""
        if source is not None and source.types is not None:
            return source.types
        names = [name for name in self._before if name not in ("source", *self._index.info.given)]
        columns = self._store.column(["source"], names)
        rows = [place for place, found in enumerate(columns["source"]) if found == path]
        return {name: self._before[name] for name in names if any(columns[name][row] is not None for row in rows)}

    def _note(self, name: str, wanted: FieldType, by_source: Mapping[str, Mapping[str, FieldType]]) -> str | None:
        kinds = {types[name] for types in by_source.values() if name in types} | self._mixed.get(name, set())
        if wanted == "string" and len(kinds - {"string", "date"}) > 0 and len(kinds) > 1:
            return kept_as_text(name, *kinds)
        found, before = self._store.fields().get(name, wanted), self._before.get(name, wanted)
        if found != wanted:
            return f"field {name!r}: not every value is of type {wanted}, so that all of them are kept as texts"
        return None if found == before else f"field {name!r}: its type was {before}, and is {found} now"


def _joined(of_all: Iterable[Mapping[str, FieldType]]) -> dict[str, FieldType]:
    found: dict[str, FieldType] = {}
    for types in of_all:
        for name, kind in types.items():
            found[name] = join(found.get(name, kind), kind)
    return found
