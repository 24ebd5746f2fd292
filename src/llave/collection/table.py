"""A table: one entry a row."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from llave.collection.collection import Columns, Part
from llave.collection.columns import choose_columns, field_types
from llave.collection.entry import BadEntry, Entry, stamp_of, state_of
from llave.collection.folder import NO_SOUND
from llave.collection.types import scalar
from llave.data.inline import inline_bytes
from llave.data.pages import split_page
from llave.data.tables import as_text, count_rows, parts, quoted, read_part, read_table
from llave.data.video import frame_paths
from llave.encode.item import Item
from llave.errors import DataError, UserError

__all__ = ["TableCollection"]

FIRST_ROWS = 100
"""Are read to learn the columns: JSON's rows may each have others."""


class TableCollection:
    """The rows of a parquet, JSONL, JSON, CSV or TSV file.

    Picture, video and audio files are relative to the table's folder and must lie below it; addresses are not fetched.

    Args:
        sounds: make items of them; else their column is not used, and rows with nothing else are left out.
    """

    def __init__(self, path: Path, columns: Columns, *, sounds: bool = True) -> None:
        self.path = path
        self.left_out: Counter[str] = Counter()
        self.root, self.address = path.parent, str(path.parent)
        found = list(islice(read_table(path), FIRST_ROWS))
        rows = [row for row in found if isinstance(row, dict)]
        if not rows:
            bad = next((str(row) for row in found if isinstance(row, DataError)), None)
            raise UserError(bad or f"{path}: {'rows are not objects with columns' if found else 'no rows'}")
        self.chosen = choose_columns(path, rows, columns)
        self._types = field_types(path, self.chosen.fields)
        self._unheard = None if sounds else self.chosen.columns.pop("audio", None)
        self.notes: Sequence[str] = [str(self.chosen), *self._types.notes]
        if self._unheard is not None:
            self.notes = [*self.notes, f"column {self._unheard!r} is not used: {NO_SOUND}"]

    def parts(self, size: int) -> Iterator[Part]:
        """``size`` rows each, by their places from 0; of a JSONL file also by where they begin, so that a part is
        found without reading those before it."""
        yield from parts(self.path, size)

    def read(self, part: Part) -> Iterator[Entry | BadEntry]:
        """The entries of a part."""
        yield from self._entries(read_part(self.path, part), part["start"])

    def state(self) -> str:
        """Of the table; a picture that was replaced beside it does not show."""
        return state_of([(self.path.name, self.path)])

    def size(self) -> int:
        """Rows."""
        return count_rows(self.path)

    def __iter__(self) -> Iterator[Entry | BadEntry]:
        yield from self._entries(read_table(self.path), 0)

    def _entries(self, rows: Iterator[Any], start: int) -> Iterator[Entry | BadEntry]:
        for number, row in enumerate(rows, start=start + 1):
            where = f"{self.path.name} row {number}"
            if isinstance(row, DataError):
                yield BadEntry(where, str(row))
                continue
            try:
                if self._is_unheard(row):
                    self.left_out[f"rows with a sound alone ({NO_SOUND})"] += 1
                else:
                    yield self._entry(row)
            except Exception as error:  # of a row, whatever it is: names with a NUL in them, odd values
                key = row.get(self.chosen.columns.get("id", "")) if isinstance(row, dict) else None
                yield BadEntry(where if key is None else str(key), f"{where}: {error}")

    def _entry(self, row: Any) -> Entry:
        if not isinstance(row, dict):
            raise DataError("not an object with columns")
        value = {ours: _present(row.get(theirs)) for ours, theirs in self.chosen.columns.items()}
        text = as_text(value.get("text")).strip()
        image, name = self._file(value.get("image"), "a picture")
        audio, heard = self._file(value.get("audio"), "a sound")
        video = self._path(value["video"]) if value.get("video") else None
        if not text and image is None and video is None and audio is None:
            raise DataError("no text, picture, video or sound")
        key = value.get("id")
        if key is None or key == "":
            key = _content_key(
                text, image or audio, video, {name: scalar(row.get(name)) for name in self.chosen.fields}
            )
        file = video or next((split_page(each)[0] for each in (image, audio) if isinstance(each, Path)), None)
        return Entry(
            key=str(key),
            item=Item(text, image, video, audio=audio),
            name=str(value["video"]) if video else name or heard,
            stamp="" if file is None or not file.is_file() else stamp_of(file, text),
            fields=self._types.of(row),
        )

    def _is_unheard(self, row: Any) -> bool:
        """Whether a row has a sound, and nothing that can be used."""
        if self._unheard is None or not isinstance(row, dict) or not _present(row.get(self._unheard)):
            return False
        used = [theirs for ours, theirs in self.chosen.columns.items() if ours != "id"]
        return not any(_present(row.get(theirs)) for theirs in used)

    def _file(self, value: Any, what: str) -> tuple[Path | bytes | None, str]:
        """The picture or sound, and its name."""
        if isinstance(value, Mapping):  # Hugging Face's Image and Audio
            name = str(value.get("path") or "")
            content = value.get("bytes")
            if content is not None and not isinstance(content, bytes):
                raise DataError(f"{quoted(content)} are no bytes of {what}")
            return (content, name) if content else self._file(value.get("path"), what)
        if isinstance(value, bytes):
            return value, ""
        inline = inline_bytes(value) if isinstance(value, str) else None
        if inline is not None:
            return inline, ""
        return (self._path(value), str(value)) if value else (None, "")

    def _path(self, value: Any) -> Path:
        if not isinstance(value, str):
            raise DataError(f"{quoted(value)} is no path")
        if "://" in value:
            raise DataError(f"{value[:80]}: an address; nothing is fetched, download it first")
        path = self.root / value
        if not split_page(path)[0].resolve().is_relative_to(self.root.resolve()):  # the file that is read, not its page
            raise DataError(f"{value[:200]}: outside the table's folder")
        for frame in frame_paths(path) if path.is_dir() else ():
            if not frame.resolve().is_relative_to(self.root.resolve()):
                raise DataError(f"{value[:200]}: its frame {frame.name[:200]} is outside the table's folder")
        return path


def _present(value: Any) -> Any:
    """None also of nan, as which pandas writes what is missing."""
    return None if isinstance(value, float) and value != value else value


def _content_key(text: str, image: Path | bytes | None, video: Path | None, fields: Mapping[str, Any]) -> str:
    """A name for a row without one: rows that are equal in all that is used are one. The values are
    those of the table, and small integers as they were before a field could have such, so that a row keeps its name."""
    media = image if isinstance(image, bytes) else str(video or image or "").encode()
    small = {n: float(v) if type(v) is int and abs(v) <= 2**53 else v for n, v in fields.items()}
    used = json.dumps([text, *([sorted(small.items())] if fields else [])])
    return hashlib.sha256(used.encode() + b"|" + media).hexdigest()[:32]
