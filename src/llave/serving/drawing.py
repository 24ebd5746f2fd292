"""``/v1/map``: every item's place, and what it can be coloured by."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llave.search.fields import as_number
from llave.serving.errors import ApiError

if TYPE_CHECKING:
    from llave.search.index import Index

__all__ = ["draw"]

FEW, MANY = 50, 1000
"""Values of a field: so few are all there; of more, those that several items have, and the most frequent of them."""


def draw(index: "Index") -> dict[str, Any]:
    """Columns, one entry an item.

    Raises:
        ApiError: 404, there is no map.
    """
    found = index.map()
    if found is None:
        raise ApiError(404, "this index has no map; make one with `llave index --map`", code="no_map")
    own, types = ["id", "kind"], index.store.fields()
    columns = index.store.column(own, [name for name in types if name not in own])
    place = {row_id: number for number, row_id in enumerate(columns["id"])}
    shown = [number for number, row_id in enumerate(found.ids) if row_id in place]  # the rest was removed since
    rows = [place[found.ids[number]] for number in shown]
    xy_N2 = found.xy_N2[shown].astype(float).round(5)
    fields: dict[str, Any] = {}
    numbers: dict[str, Any] = {}
    for name, kind in types.items():
        if name in own:
            continue
        values = [columns[name][row] for row in rows]
        if kind in ("string", "boolean"):
            coded = _coded(values)
            if coded["values"]:
                fields[name] = coded
        elif any(value is not None for value in values):
            numbers[name] = {"type": kind, "values": [as_number(value, kind) for value in values]}
    kinds = _coded([columns["kind"][row] for row in rows])
    return {
        "ids": [found.ids[number] for number in shown],
        "x": xy_N2[:, 0].tolist(),
        "y": xy_N2[:, 1].tolist(),
        "kinds": kinds["values"],
        "kind": kinds["codes"],
        "fields": fields,
        "numbers": numbers,
    }


def _coded(column: Sequence[Any]) -> dict[str, Any]:
    """The values of a column, the most frequent first, and each row's place among them, or -1."""
    counts = Counter(value for value in column if value is not None)
    ranked = sorted(counts, key=lambda value: (-counts[value], value))
    values = ranked if len(ranked) <= FEW else [value for value in ranked[:MANY] if counts[value] > 1]
    place = {value: number for number, value in enumerate(values)}
    return {"values": values, "codes": [place.get(value, -1) for value in column]}
