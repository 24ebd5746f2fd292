"""Vectors that the index has already: of a file that was renamed, copied or moved, nothing is embedded again.

An item's vector is that of any other item of equal content. And where a source is no longer on the disk, what another
one has under the same name and of the same content has moved there: the old item goes, so that there are no twins.
"""

import functools
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from llave.search.known_errors import drop_errors
from llave.search.known_rows import KnownRows
from llave.search.sources import Source, read_sources, write_sources
from llave.search.store import Row, row_id
from llave.search.trust import seems_there

if TYPE_CHECKING:
    from llave.search.index import Index

__all__ = ["Takeover"]


class Takeover:
    """What a run on one source may take over.

    Args:
        index: that the source is in.
        source: that is being brought up to date.
    """

    def __init__(self, index: "Index", source: Source) -> None:
        self._index = index
        self.known = KnownRows(index.store.known(source.path))
        self._lost = {
            other.path: (other, dict(index.store.known(other.path)))
            for other in read_sources(index).values()
            if other.path != source.path and not seems_there(index.path, other)
        }
        self._taken = dict.fromkeys(self._lost, 0)

    @functools.cached_property
    def _lost_owner(self) -> dict[str, str]:
        """From a content to the id of a lost source's row that has it."""
        return {each.content: row_id for _, rows in self._lost.values() for row_id, each in rows.items()}

    def rows(self, contents: Mapping[str, str]) -> dict[str, Row]:
        """For items that were found, by id: a row of the same content, with its vector and thumbnail.

        Args:
            contents: of the items, by id.
        """
        owners = {row_id: owner for row_id, content in contents.items() if (owner := self._of(row_id, content))}
        rows = self._index.store.get(list(set(owners.values())), vectors=True, thumbnails=True)
        found = {row_id: rows[owner] for row_id, owner in owners.items() if owner in rows}
        return {row_id: row for row_id, row in found.items() if row.content == contents[row_id]}  # it may be new by now

    def _of(self, row_id: str, content: str) -> str | None:
        """The item itself, if only what stands beside its vector has changed."""
        if self.known.content(row_id) == content:
            return row_id
        return self._lost_owner.get(content) or self.known.owner(content)

    def arrived(self, contents: Mapping[str, str]) -> None:
        """Items are in the index now: where a lost source has them too, that one's go.

        Args:
            contents: by key.
        """
        for path, (source, rows) in self._lost.items():
            ids = {row_id(source.name, key): content for key, content in contents.items()}
            twins = [
                identity for identity, content in ids.items() if identity in rows and rows[identity].content == content
            ]
            self._index.store.delete(twins)
            self._taken[path] += len(twins)
            for identity in twins:
                del rows[identity]

    def notes(self) -> list[str]:
        """The end of the run: what became of each source that is lost, in words; one without items is forgotten."""
        lines = []
        sources = read_sources(self._index)
        for path, (_, rows) in self._lost.items():
            gone = f"{path}: no longer there"
            if taken := self._taken[path]:
                gone += f"; {taken:,} of its items are here now, and were taken over"
            if rows:
                names = shlex.join([str(self._index.path), path])
                gone += (
                    f"; {len(rows):,} of its items stay in the index; say where it is (llave index move {names} NEW) "
                    f"or take them out (llave index remove {names})"
                )
            else:
                del sources[path]
                write_sources(self._index, sources)
                drop_errors(self._index.path, path)
            lines.append(gone)
        return lines
