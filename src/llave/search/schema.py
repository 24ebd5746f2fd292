"""The types of an index's fields follow its sources: what a source has now counts, not what it once had."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from llave.collection.types import FieldType, Scalar, join, kept_as_text, type_of
from llave.files import write_json
from llave.search.store import VectorStore

__all__ = ["SCHEMA", "Schema"]

SCHEMA = "schema.json"
"""Name of the file in an index's folder: the types of fields by source."""


class Schema:
    """What the entries of one source have in their fields, and in the end the store's fields by that.

    Args:
        file: where the types of each source are kept.
        source: which is brought up to date; all its entries are to be seen.
    """

    def __init__(self, file: Path, store: VectorStore, source: str) -> None:
        self._file, self._store, self._source = file, store, source
        self._before = store.fields()
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
        kept = self._kept()
        if not complete:
            self._types = _joined([self._types, kept.get(self._source, {})])
        sources = sorted(set(self._store.column(["source"])["source"]) | {self._source})
        by_source = {source: kept.get(source, self._before) for source in sources}  # one of before this file was kept
        by_source[self._source] = self._types
        wanted = _joined(by_source.values())
        now = self._store.fields()
        gone = [name for name in now if name not in wanted]
        changed = {name: kind for name, kind in wanted.items() if name in now and now[name] != kind}
        self._store.retype({**dict.fromkeys(gone), **changed})
        write_json(self._file, by_source)
        return [line for name in wanted if (line := self._note(name, wanted[name], by_source))]

    def _note(self, name: str, wanted: FieldType, by_source: Mapping[str, Mapping[str, FieldType]]) -> str | None:
        kinds = {types[name] for types in by_source.values() if name in types} | self._mixed.get(name, set())
        if wanted == "string" and len(kinds - {"string", "date"}) > 0 and len(kinds) > 1:
            return kept_as_text(name, *kinds)
        found, before = self._store.fields().get(name, wanted), self._before.get(name, wanted)
        if found != wanted:
            return f"field {name!r}: not every value is of type {wanted}, so that all of them are kept as texts"
        return None if found == before else f"field {name!r}: its type was {before}, and is {found} now"

    def _kept(self) -> dict[str, dict[str, FieldType]]:
        try:
            found: dict[str, dict[str, FieldType]] = json.loads(self._file.read_text("utf-8"))
        except (FileNotFoundError, ValueError):  # of an index that is older, or damaged: as if it had none
            return {}
        return found if isinstance(found, dict) and all(isinstance(types, dict) for types in found.values()) else {}


def _joined(of_all: Iterable[Mapping[str, FieldType]]) -> dict[str, FieldType]:
    found: dict[str, FieldType] = {}
    for types in of_all:
        for name, kind in types.items():
            found[name] = join(found.get(name, kind), kind)
    return found
