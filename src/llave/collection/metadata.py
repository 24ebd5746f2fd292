"""Fields of a folder's files from a table beside them: Hugging Face's imagefolder.

``metadata.jsonl``, ``.csv`` or ``.parquet`` in the folder, or in folders below it, with a column ``file_name``: the
path of a file relative to the table. It is found whatever the composition of its letters (macOS writes NFD), with
``./`` or ``\\`` in it, and in other capitals where that leaves no doubt.
"""

import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from llave.collection.columns import field_types
from llave.collection.types import Scalar, scalar
from llave.data.tables import read_table
from llave.errors import DataError, UserError

__all__ = ["METADATA", "Find", "Metadata", "beside"]

Find = Callable[[PurePosixPath], Path | None]

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
FILE_NAME, TEXT = "file_name", "text"


def beside(folder: Path) -> Path | None:
    """The table in a folder, where there is one."""
    paths = [folder / name for name in METADATA]
    return next((path for path in paths if path.is_file() and not path.is_symlink()), None)


class Metadata:
    """The tables of a folder, each read when a file below it is asked for.

    Args:
        root: the folder.
        find: the table of a folder below it.

    Raises:
        UserError: a table that cannot be read, or a row of it without a name; at once for the folder's own table.
    """

    def __init__(self, root: Path, find: Find) -> None:
        self._root = root
        self._find = find
        self._tables: dict[PurePosixPath, _Table | None] = {}
        self._table(PurePosixPath("."))

    def of(self, name: str) -> dict[str, Scalar]:
        """The fields of a file, by its path below the folder; those of the table nearest to it count."""
        path = PurePosixPath(name)
        fields: dict[str, Scalar] = {}
        for folder in reversed(path.parents):
            table = self._table(folder)
            if table is not None:
                fields |= table.find(path.relative_to(folder).as_posix())
        return fields

    def files(self) -> list[str]:
        """The tables that were found, by their paths below the folder."""
        return [table.path.relative_to(self._root).as_posix() for table in self._tables.values() if table is not None]

    def notes(self) -> list[str]:
        """How their columns were read, where that was not certain."""
        return [note for table in self._tables.values() if table is not None for note in table.notes]

    def unmatched(self) -> dict[str, list[str]]:
        """Names by table of which no file has been asked for."""
        tables = {table.path: table for table in self._tables.values() if table is not None}
        left = {path: table.unmatched() for path, table in tables.items()}
        return {path.relative_to(self._root).as_posix(): names for path, names in left.items() if names}

    def _table(self, folder: PurePosixPath) -> "_Table | None":
        if folder not in self._tables:
            there = self._find(folder)
            self._tables[folder] = None if there is None else _Table(there)
        return self._tables[folder]


class _Table:
    def __init__(self, path: Path) -> None:
        self.path = path
        rows: dict[str, Mapping[str, Any]] = {}
        self._names: dict[str, str] = {}
        for number, row in enumerate(read_table(path), start=1):
            if isinstance(row, DataError):
                raise row
            if not isinstance(row, Mapping) or not row.get(FILE_NAME):
                raise UserError(f"{path} row {number}: no {FILE_NAME}, the column that names the file")
            name = str(row[FILE_NAME])
            rows[_plain(name)] = row
            self._names[_plain(name)] = name
        names = dict.fromkeys(key for row in rows.values() for key in row if key not in (FILE_NAME, TEXT))
        types = field_types(path, list(names), rows.values())
        self.notes = types.notes
        captions = {plain: {TEXT: scalar(row[TEXT])} if TEXT in row else {} for plain, row in rows.items()}
        self._rows: dict[str, dict[str, Scalar]] = {p: {**captions[p], **types.of(row)} for p, row in rows.items()}
        folded: dict[str, list[str]] = {}
        for plain in self._rows:
            folded.setdefault(plain.casefold(), []).append(plain)
        self._folded = {key: names[0] for key, names in folded.items() if len(names) == 1}
        self._asked: set[str] = set()

    def find(self, name: str) -> dict[str, Scalar]:
        plain = _plain(name)
        if plain not in self._rows:
            plain = self._folded.get(plain.casefold(), plain)
        self._asked.add(plain)
        return self._rows.get(plain, {})

    def unmatched(self) -> list[str]:
        return [name for plain, name in self._names.items() if plain not in self._asked]


def _plain(name: str) -> str:
    return PurePosixPath(unicodedata.normalize("NFC", name).replace("\\", "/")).as_posix()
