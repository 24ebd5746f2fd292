"""What could not be embedded, in ``errors.jsonl``: shown to people, and remembered for the next run.

An error is *known* if the item failed before with the same content: the same size and time of its file, or, where there
is no file, the same reason. The file of a known error is not even tried again, unless something that may help has
changed since: the file's mode or owner, llave or any other package, or a limit.
"""

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from llave._version import __version__
from llave.collection.entry import Entry
from llave.data.pages import split_page
from llave.files import write_jsonl
from llave.storage.location import Location, is_address

__all__ = ["ErrorRow", "KnownErrors", "drop_errors", "move_errors"]

FILE = "errors.jsonl"


@dataclass(frozen=True, kw_only=True)
class ErrorRow:
    """A line of the file.

    Args:
        key: of the item in its source.
        error: why it is not in the index.
        source: path of the source.
        stamp: of its content; empty where nothing tells.
        tried: with what and as what the file was read; empty of what is tried every time.
    """

    key: str
    error: str
    source: str = ""
    stamp: str = ""
    tried: str = ""


class KnownErrors:
    """The errors of one source, of the runs before and of this one.

    Args:
        folder: of the index.
        source: path of the source.
        limits: of this run, on which it depends what can be read.
    """

    def __init__(self, folder: Location, source: str, limits: str) -> None:
        self._folder = folder
        self._source = source
        self._limits = limits
        self._before = {row.key: row for row in _read(folder) if row.source == source}
        self._now: dict[str, ErrorRow] = {}

    def skip(self, entry: Entry) -> str | None:
        """Why an item cannot be embedded, if that is known without trying it."""
        before = self._before.get(entry.key)
        if before is None or not before.tried or before.stamp != entry.stamp:
            return None
        return before.error if before.tried == self._trying(entry) else None

    def note(self, key: str, error: str, *, stamp: str = "", lasting: Entry | None = None) -> bool:
        """Remember an error of this run; whether it was known.

        Args:
            stamp: of the item.
            lasting: the item, if it will fail as long as it is what it is.
        """
        tried = "" if lasting is None else self._trying(lasting)
        row = ErrorRow(key=key, error=error, source=self._source, stamp=stamp, tried=tried)
        before = self._before.get(key)
        self._now[key] = row
        return before is not None and (before.stamp == row.stamp if row.stamp else before.error == row.error)

    def write(self) -> None:
        """The file of all sources, this one's errors as they are now."""
        others = (row for row in _read(self._folder) if row.source != self._source)
        _write(self._folder, [*others, *self._now.values()])

    def _trying(self, entry: Entry) -> str:
        """Empty of what has no file, which costs little to try."""
        if not entry.stamp or entry.item.file is None:
            return ""
        try:
            file = split_page(entry.item.file)[0]
            changed = 0 if is_address(self._source) else file.stat().st_ctime_ns  # there, nothing but its content has
        except OSError:  # it went away meanwhile
            return ""
        return hashlib.sha256(f"{changed} {self._limits} {_packages()}".encode()).hexdigest()[:16]


def move_errors(folder: Location, old: str, new: str) -> None:
    """They are of another path by now."""
    rows = _read(folder)
    if any(row.source == old for row in rows):
        _write(
            folder, [ErrorRow(**{**asdict(row), "source": new if row.source == old else row.source}) for row in rows]
        )


def drop_errors(folder: Location, source: str) -> None:
    """All of a source."""
    _write(folder, [row for row in _read(folder) if row.source != source])


def _write(folder: Location, rows: list[ErrorRow]) -> None:
    if rows:
        write_jsonl(folder / FILE, map(asdict, rows))
    else:
        (folder / FILE).unlink(missing_ok=True)


def _read(folder: Location) -> list[ErrorRow]:
    """Those of an llave before this one are of no source, and not known."""
    file = folder / FILE
    return list(_rows(file)) if file.is_file() else []


def _rows(file: Location) -> Iterator[ErrorRow]:
    for line in file.read_bytes().splitlines():
        try:
            row: Any = json.loads(line)
        except Exception:  # edited by hand, or anybody's; then the item is tried again
            continue
        if isinstance(row, Mapping) and row.get("source") and all(isinstance(value, str) for value in row.values()):
            known = {name: row[name] for name in ErrorRow.__dataclass_fields__ if name in row}
            if {"key", "error"} <= known.keys():
                yield ErrorRow(**known)


@functools.cache
def _packages() -> str:
    """Everything that is installed: a decoder that was missing may be there now."""
    found = sorted(f"{each.name} {each.version}" for each in importlib.metadata.distributions())
    return hashlib.sha256(f"{__version__} {found}".encode()).hexdigest()
