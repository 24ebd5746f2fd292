"""The items of an index, to be sorted."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llave.encode.item import Item
from llave.errors import UserError
from llave.search.filters import EVERYTHING, Filter
from llave.search.store import Row
from llave.search.trust import Withheld
from llave.sorting.things import Thing, Things

if TYPE_CHECKING:
    from llave.search.index import Index

__all__ = ["ids_by_name", "things_of"]

CHUNK = 1000


def things_of(index: "Index", filter: Filter = EVERYTHING) -> Things:
    """All that pass, with their vectors; their pictures are the thumbnails that the index keeps.

    Raises:
        UserError: none passes.
    """
    ids, vector_ND = index.store.vectors(limit=None, conditions=filter)
    if not ids:
        raise UserError(f"{index.path}: has no items" + ("" if filter == EVERYTHING else " that pass the filter"))
    things: list[Thing] = []
    kept: list[int] = []  # one may have been removed meanwhile
    withheld = 0
    for start in range(0, len(ids), CHUNK):
        some = ids[start : start + CHUNK]
        rows = index.store.get(some)
        for place, each in enumerate(some, start=start):
            if each in rows:
                item, hidden = _item(index, rows[each])
                withheld += hidden
                things.append(_thing(rows[each], item))
                kept.append(place)

    def pictures(places: Sequence[int]) -> list[bytes]:
        wanted = [things[place].id for place in places]
        found = index.store.get(wanted, thumbnails=True)
        return [found[each].thumbnail if each in found else b"" for each in wanted]

    note = f"the files of {withheld:,} items are not read, since you have not indexed them on this machine"
    return Things(all=things, vector_ND=vector_ND[kept], pictures=pictures, notes=[note] if withheld else [])


def ids_by_name(index: "Index") -> dict[str, str]:
    """The id of an item by its id, its path or its key; of several with one name, the first."""
    columns = index.store.column(["id", "path", "key"])
    found: dict[str, str] = {}
    for name in ("id", "path", "key"):
        for each, identity in zip(columns[name], columns["id"], strict=True):
            found.setdefault(each, identity)
    return found


def _item(index: "Index", row: Row) -> tuple[Item, bool]:
    """What there is of it, and whether its file may not be read."""
    try:
        return index.item(row), False
    except Withheld:
        return Item(row.text), True


def _thing(row: Row, item: Item) -> Thing:
    return Thing(
        id=row.id,
        key=row.key,
        name=row.path or row.key,
        kind=row.kind,
        text=row.text,
        item=item,
        content=row.content,
        fields=row.fields,
    )
