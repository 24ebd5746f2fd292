"""``llave index field``: a field of the user's own for the items of an index."""

import sys
from dataclasses import dataclass
from pathlib import Path

from llave.cli.parsing import parse
from llave.errors import UserError
from llave.storage.location import Location

__all__ = ["FieldConfig", "field"]


@dataclass(frozen=True, kw_only=True)
class FieldConfig:
    """A field.

    Args:
        index: folder of the index.
        name: of the field, a word.
        table: with the columns item (a path, key or id) and one of that name, e.g. a CSV.
        remove: take the field from all items.
    """

    index: Location
    name: str
    table: Path | None = None
    remove: bool = False


def field(argv: list[str]) -> int:
    """Set or remove it."""
    config = parse(
        FieldConfig,
        argv,
        command="index field",
        description="Give items of an index a field of your own, which can be filtered by at once and is kept as long "
        "as their content is the same. Examples: llave index field photos.index album albums.csv; llave index field "
        "photos.index album --remove.",
        positional=("index", "name", "table"),
    )
    if (config.table is None) != config.remove:
        raise UserError(f"field {config.name}: name a table with its values, or say --remove")
    from llave.collection.columns import field_types
    from llave.data.tables import read_table
    from llave.search.given import drop_field
    from llave.search.index import Index
    from llave.search.things import ids_by_name

    index = Index.open(config.index)
    if config.table is None:
        drop_field(index, config.name)
        sys.stdout.write(f"{config.index}: no item has a field {config.name} any more\n")
        return 0
    rows = list(read_table(config.table))
    for number, row in enumerate(rows, start=1):
        if isinstance(row, Exception):
            raise row
        for column in ("item", config.name):
            if not isinstance(row, dict) or column not in row:
                raise UserError(f"{config.table} row {number}: no column {column!r}; wanted are item and {config.name}")
    types = field_types(config.table, [config.name], rows)
    ids = ids_by_name(index)
    values = {ids[str(row["item"])]: types.of(row)[config.name] for row in rows if str(row["item"]) in ids}
    unknown = [str(row["item"]) for row in rows if str(row["item"]) not in ids]
    if not values:
        raise UserError(
            f"{config.table}: none of its {len(rows):,} items is in {config.index}; write paths, keys or ids"
        )
    index.set_field(config.name, values)
    left = f"; {len(unknown):,} that are not there are left out, such as {unknown[0]!r:.80}" if unknown else ""
    sys.stdout.write(f"{config.index}: field {config.name} of {len(values):,} items is set{left}\n")
    return 0
