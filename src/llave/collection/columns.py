"""Which column of a table holds what: as the user says, by the usual names, or by what stands in it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from llave.collection.collection import Columns
from llave.collection.types import FieldTypes, infer_types
from llave.data.parquet import dates_of_parquet
from llave.data.suffixes import FILMS, SOUNDS
from llave.data.tables import read_table
from llave.errors import UserError

__all__ = ["Chosen", "choose_columns", "field_types"]

USUAL = {
    "id": ("id", "key", "_id"),
    "text": ("text", "caption", "title"),
    "image": ("image", "image_path", "img_path", "file_name", "picture"),
    "video": ("video", "video_path"),
    "audio": ("audio", "audio_path"),
}
"""Names that are looked for where the user names none."""


class Chosen:
    """The columns of a table in use.

    Args:
        columns: our name of a column -> the table's.
        fields: columns that are kept as metadata.
    """

    def __init__(self, columns: dict[str, str], fields: Sequence[str]) -> None:
        self.columns = columns
        self.fields = fields

    def __str__(self) -> str:
        """In a line, for the user."""
        taken = ", ".join(f"{ours} from {theirs!r}" for ours, theirs in self.columns.items())
        return f"columns: {taken}" + (f"; kept as fields: {', '.join(self.fields)}" if self.fields else "")


def choose_columns(path: Path, rows: Sequence[Mapping[str, Any]], columns: Columns) -> Chosen:
    """The columns of a table by its first rows.

    Where no column has the name of a picture's, a video's or a sound's, one all of whose texts are files beside the
    table is it. A picture's column by its name alone (``file_name``) is a sound's if sounds are all that it names.

    Raises:
        UserError: a column that is not there, or none to embed.
    """
    row = {name: value for row in reversed(rows) for name, value in row.items()}
    chosen: dict[str, str] = {}
    for ours, usual in USUAL.items():
        asked = getattr(columns, ours)
        if asked is not None and asked not in row:
            raise UserError(f"{path}: no column {asked!r} for --columns.{ours}; there are: {', '.join(row)}")
        name = asked or next((name for name in usual if name in row), None)
        if name is not None:
            chosen[ours] = name
    named = [row.get(chosen["image"]) for row in rows] if "image" in chosen and columns.image is None else []
    if "audio" not in chosen and _suffixes(named) and _suffixes(named) <= SOUNDS:
        chosen["audio"] = chosen.pop("image")
    if not {"image", "video", "audio"} & chosen.keys():
        for name in row:
            kind = _files_in(path.parent, [found.get(name) for found in rows])
            if kind is not None and name not in chosen.values():
                chosen[kind] = name
                break
    if not {"text", "image", "video", "audio"} & chosen.keys():
        raise UserError(f"{path}: which column is what? --columns.text or --columns.image; there are: {', '.join(row)}")
    return Chosen(chosen, _fields(path, row, columns, chosen))


def field_types(path: Path, names: Sequence[str], rows: Iterable[Any] | None = None) -> FieldTypes:
    """The types of a table's fields: parquet's own, of others by all their values.

    Args:
        rows: of the table; None reads it.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return FieldTypes(names, dict.fromkeys(dates_of_parquet(path) & set(names), "date"))
    rows = (read_table(path) if names else ()) if rows is None else rows
    return infer_types(rows, names, written=suffix in (".csv", ".tsv"))


def _files_in(folder: Path, values: Sequence[Any]) -> str | None:
    """``"image"``, ``"video"`` or ``"audio"`` if these values are names of files with a suffix, below the folder."""
    names = [value for value in values if value not in (None, "")]
    if not names or not all(isinstance(name, str) and len(name) < 1024 and "\0" not in name for name in names):
        return None
    if not all(PurePath(name).suffix and (folder / name).is_file() for name in names):
        return None
    suffixes = _suffixes(names)
    return "video" if suffixes <= FILMS else "audio" if suffixes <= SOUNDS else "image"


def _suffixes(values: Sequence[Any]) -> set[str]:
    """Those of values that are texts, in lower case."""
    return {PurePath(value).suffix.lower() for value in values if isinstance(value, str) and value}


def _fields(path: Path, row: Mapping[str, Any], columns: Columns, chosen: Mapping[str, str]) -> list[str]:
    if columns.fields is None:
        taken = set(chosen.values())
        return [name for name, value in row.items() if name not in taken and not isinstance(value, bytes | Mapping)]
    names = [name.strip() for name in columns.fields.split(",") if name.strip()]
    for name in names:
        if name not in row:
            raise UserError(f"{path}: no column {name!r} for --columns.fields; there are: {', '.join(row)}")
    return names
