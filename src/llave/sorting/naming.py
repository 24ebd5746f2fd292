"""What clusters are named by: words that are given, a field, the items' own texts, or the field that tells most."""

from collections.abc import Collection, Sequence

from llave.errors import UserError
from llave.sorting.classify import Encode
from llave.sorting.clusters import Ints, Naming, Vectors, by_texts, by_values, telling
from llave.sorting.things import Things

__all__ = ["choose_naming"]

ENOUGH = 10
"""Texts among the items, from which on they name the groups."""
LONGEST = 120
"""Characters of a text that is a name."""


def choose_naming(
    things: Things,
    encode: Encode,
    *,
    names: Sequence[str] = (),
    field: str | None = None,
    leave_out: Collection[str] = (),
) -> Naming:
    """How groups of these items are named.

    Args:
        encode: texts, into the items' space; only called if there are names.
        names: words to choose from.
        field: whose values are to be names.
        leave_out: fields that are not looked at where none is named, such as the groups of before.

    Raises:
        UserError: both, or a field that no item has.
    """
    if names and field is not None:
        raise UserError("names of groups come from words or from a field, not from both")
    if names:
        return by_texts(names, encode(names))
    if field is not None:
        values = [thing.fields.get(field) for thing in things.all]
        if all(value is None for value in values):
            known = ", ".join(sorted({name for thing in things.all for name in thing.fields})) or "none"
            raise UserError(f"names: no item has a field {field!r}; there are: {known}")
        return by_values(values)
    texts = [place for place, thing in enumerate(things.all) if thing.kind == "text" and len(thing.text) <= LONGEST]
    if len(texts) >= ENOUGH and things.vector_ND is not None:
        return by_texts([things.all[place].text for place in texts], things.vector_ND[texts])
    return _by_any_field(things, leave_out)


def _by_any_field(things: Things, leave_out: Collection[str]) -> Naming:
    fields = dict.fromkeys(name for thing in things.all for name in thing.fields)
    columns = {name: [thing.fields.get(name) for thing in things.all] for name in fields if name not in leave_out}
    usable = {name: values for name, values in columns.items() if any(isinstance(value, str) for value in values)}

    def name(number_N: Ints, centre_CD: Vectors) -> Sequence[tuple[str, str]]:
        best = telling(usable, number_N)
        if best is None:
            return [("", "nothing to name it by; say --names")] * len(centre_CD)
        return [(value, f"{best}: {why}") for value, why in by_values(usable[best])(number_N, centre_CD)]

    return name
