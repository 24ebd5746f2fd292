"""What ``llave dups``, ``classify`` and ``cluster`` share: the items of an index, of a folder or of a table."""

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llave.cli.defaults import find_index
from llave.errors import UserError
from llave.files import write_text
from llave.storage.location import Location, ObjectPath, location

if TYPE_CHECKING:
    from llave.collection.collection import Columns
    from llave.collection.types import Scalar
    from llave.progress import Work
    from llave.report.sheet import Card
    from llave.search.index import Index
    from llave.sorting.things import Things

__all__ = ["ERRORS", "card", "find_input", "give_field", "open_things", "write_csv"]

SHOWN_TEXT = 240
ERRORS = 10


def find_input(named: Path | None, index: Location | None, field: str | None) -> "tuple[Location, Index | None]":
    """What was named, and the index there, if it is one. Nothing named is the index that other commands take.

    Raises:
        UserError: two are named, none is found, or a field is to be written and there is no index, or it may not be.
    """
    from llave.search.given import check_name
    from llave.search.index import Index

    if named is not None and index is not None:
        raise UserError(f"{named} and --index {index}: one of them")
    path = find_index(index) if named is None else location(named)
    opened = Index.open(path) if index is not None or Index.exists(path) else None
    if field is not None:
        if opened is None:
            raise UserError(f"{path}: no index, so that there is nothing to write --field {field} into")
        check_name(opened, field)
    if opened is None and isinstance(path, ObjectPath):
        raise UserError(f"{path}: no index there; folders and tables are read from this machine's disk")
    return path, opened


def open_things(
    path: Location,
    index: "Index | None",
    work: "Work",
    *,
    filter: str,
    columns: "Columns",
    model: Any = None,
) -> "Things":
    """The items of an index, or else of a folder or table; what could not be read is said.

    Raises:
        UserError: nothing there, or a filter where there is no index.
    """
    from llave.search.filters import parse_filter
    from llave.search.things import things_of
    from llave.sorting.things import read_things
    from llave.terminal import printable

    if index is None and filter:
        raise UserError("--filter is for the items of an index")
    if index is not None:
        things = things_of(index, parse_filter(filter))
    else:
        assert isinstance(path, Path)  # find_input refuses an address without an index
        things = read_things(path, work, model=model, columns=columns)
    lines = [f"left out {name}: {why}" for name, why in list(things.errors.items())[:ERRORS]]
    if len(things.errors) > ERRORS:
        lines.append(f"left out {len(things.errors) - ERRORS:,} more items that could not be read")
    for line in [*lines, *things.notes]:
        sys.stderr.write(f"llave: {printable(line)}\n")
    return things


def give_field(index: "Index | None", name: str | None, values: "Mapping[str, Scalar]") -> None:
    """Write a field, if one was named, and say how to look for it."""
    if index is None or name is None:
        return
    index.set_field(name, values)
    given = [value for value in values.values() if value is not None]
    shown = f"'{given[0]}'" if given and isinstance(given[0], str) else given[0] if given else "null"
    sys.stderr.write(
        f'llave: field {name} of {len(given):,} items is set: llave search --filter "{name} = {shown}" --index '
        f"{index.path}\n"
    )


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """A table with these columns."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def card(things: "Things", place: int, picture: bytes, about: str = "", *, marked: bool = False) -> "Card":
    """An item on a page."""
    from llave.report.sheet import Card

    thing = things.all[place]
    text = thing.text if len(thing.text) <= SHOWN_TEXT else thing.text[: SHOWN_TEXT - 1] + "…"
    return Card(name=thing.name, picture=picture, text=text, about=about, marked=marked)
