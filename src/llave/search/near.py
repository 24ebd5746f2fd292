"""What a filter that finds nothing may have meant."""

from collections.abc import Iterator
from difflib import get_close_matches

from llave.search.filters import And, Condition, Filter, Or
from llave.search.names import OWN_FIELDS
from llave.search.store import VectorStore

__all__ = ["suggest"]

NEAR = 3
FEW = 10_000
"""A field with more values is of names or texts, where one that is not there says little."""


def suggest(store: VectorStore, filter: Filter) -> list[str]:
    """A line for each text that the filter wants a field to be and no item has, with those most like it that some have:
    ``artist has no "notto"; near: noto``."""
    types = store.fields()
    values: dict[str, dict[str, str]] = {}
    lines = []
    for name, word in dict.fromkeys(_wanted(filter)):
        if types.get(name, OWN_FIELDS.get(name)) != "string":
            continue
        if name not in values:
            column = store.column([], [name]) if name in types else store.column([name])
            there = {value for value in column[name] if value is not None}
            values[name] = {value.casefold(): value for value in sorted(there)} if len(there) <= FEW else {}
        known = values[name]
        if known and word not in known.values():
            near = [known[match] for match in get_close_matches(word.casefold(), known, NEAR)]
            lines.append(f'{name} has no "{word}"' + (f"; near: {', '.join(near)}" if near else ""))
    return lines


def _wanted(filter: Filter) -> Iterator[tuple[str, str]]:
    """Fields and what they are to equal; what they are not to be may well be nowhere."""
    if isinstance(filter, And | Or):
        for part in filter.parts:
            yield from _wanted(part)
    elif isinstance(filter, Condition) and filter.op in ("=", "in"):
        for value in filter.value if isinstance(filter.value, tuple) else (filter.value,):
            yield filter.field, str(value)
