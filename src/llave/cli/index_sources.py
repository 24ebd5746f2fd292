"""``llave index sources | move | remove``: where the items of an index come from."""

import dataclasses
import json
import sys
from dataclasses import dataclass

from llave.cli.defaults import find_index
from llave.cli.parsing import parse
from llave.storage.location import Location

__all__ = ["MoveConfig", "RemoveConfig", "SourcesConfig", "move", "remove", "sources"]


@dataclass(frozen=True, kw_only=True)
class SourcesConfig:
    """What an index is of.

    Args:
        index: its folder; null is "index" here, else the quickstart's.
        json: print JSON instead of a table.
    """

    index: Location | None = None
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class MoveConfig:
    """A folder or table that has moved.

    Args:
        index: folder of the index.
        old: its path before.
        new: its path now.
    """

    index: Location
    old: Location
    new: Location


@dataclass(frozen=True, kw_only=True)
class RemoveConfig:
    """What is to go.

    Args:
        index: folder of the index.
        source: path of the folder or table whose items go.
    """

    index: Location
    source: Location


def sources(argv: list[str]) -> int:
    """List them."""
    config = parse(
        SourcesConfig,
        argv,
        command="index sources",
        description="The folders, tables and archives of an index: items, last run, and what is no longer on the disk.",
        positional=("index",),
    )
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from llave.search.index import Index
    from llave.search.manage import list_sources
    from llave.terminal import printable

    index = Index.open(find_index(config.index))
    found = list_sources(index)
    if config.json:
        sys.stdout.write(json.dumps([dataclasses.asdict(each) for each in found], ensure_ascii=False) + "\n")
        return 0
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("source", "items", "updated", "on the disk"):
        table.add_column(name, justify="right" if name == "items" else "left", overflow="fold")
    for each in found:
        missing = f"{each.missing:,} files missing" if each.missing else "all"
        state = missing if each.there else "gone"
        table.add_row(escape(printable(each.path)), f"{each.items:,}", each.updated or "never to its end", state)
    Console().print(table)
    return 0


def move(argv: list[str]) -> int:
    """Say that a source has moved."""
    config = parse(
        MoveConfig,
        argv,
        command="index move",
        description="A folder or table has another path by now: its items keep their ids and vectors, and nothing is "
        "embedded. Example: llave index move photos.index /media/photos /mnt/photos",
        positional=("index", "old", "new"),
    )
    from llave.search.index import Index
    from llave.search.manage import move_source

    items = move_source(Index.open(config.index), config.old, config.new)
    sys.stdout.write(f"{config.index}: {items:,} items are of {config.new} now\n")
    return 0


def remove(argv: list[str]) -> int:
    """Take out the items of a source."""
    config = parse(
        RemoveConfig,
        argv,
        command="index remove",
        description="Take the items of a folder, table or archive out of an index, whether it is still there or not. "
        "The files themselves stay. Example: llave index remove photos.index /media/photos",
        positional=("index", "source"),
    )
    from llave.search.index import Index
    from llave.search.manage import remove_source

    items = remove_source(Index.open(config.index), config.source)
    sys.stdout.write(f"{config.index}: {items:,} items of {config.source} removed\n")
    return 0
