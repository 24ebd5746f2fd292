"""Fields that the user gives the items of an index: a label, a cluster, the number of a group of duplicates.

They stand beside the sources' own fields, and are kept as long as an item's content is the same: when its index is
brought up to date, when its file has another name, and when another model embeds it.
"""

import dataclasses
import re
from typing import TYPE_CHECKING

from llave.errors import UserError
from llave.search.names import RESERVED
from llave.search.writing import writing

if TYPE_CHECKING:
    from llave.search.index import Index

__all__ = ["check_name", "drop_field", "keep_given"]

NAME = re.compile(r"[^\W\d_]\w{0,62}")
"""A word, so that a filter can name it."""


def check_name(index: "Index", name: str) -> None:
    """Refuse a name before what is to be written under it has been worked out.

    Raises:
        UserError: one that a filter cannot name, the index's own, or that of a field of its sources.
    """
    if not NAME.fullmatch(name) or name.lower() in RESERVED:
        own = ", ".join(sorted(RESERVED))
        raise UserError(f"field {name!r:.80}: one word that begins with a letter, and none of the index's own: {own}")
    if name in index.store.fields() and name not in index.info.given:
        raise UserError(f"field {name!r}: the items have it from their folder or table; choose another name")


def drop_field(index: "Index", name: str) -> None:
    """Take a field from all items.

    Raises:
        UserError: it is none that :meth:`~llave.search.index.Index.set_field` has given.
    """
    with writing(index):
        if name not in index.info.given:
            given = ", ".join(index.info.given) or "none"
            raise UserError(f"{index.path}: no field {name!r} that was given; those are: {given}")
        index.store.retype({name: None})
        index.info = dataclasses.replace(index.info, given=tuple(each for each in index.info.given if each != name))
        index.save()


def keep_given(old: "Index", new: "Index") -> None:
    """The items of an index made anew have what the user has given them in the index before."""
    given = [name for name in old.info.given if name in old.store.fields()]
    columns = old.store.column(["id"], given)
    for name in given:
        new.store.set_field(name, dict(zip(columns["id"], columns[name], strict=True)))
