"""A table: one entry a row."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from llave.collection.collection import Columns, Part
from llave.collection.entry import BadEntry, Entry, scalar, stamp_of, state_of
from llave.data.identity import legible
from llave.data.pages import split_page
from llave.data.raw_rows import json_line, records
from llave.encode.item import Item
from llave.errors import DataError, UserError

__all__ = ["TableCollection"]

USUAL = {
    "id": ("id", "key", "_id"),
    "text": ("text", "caption", "title"),
    "image": ("image", "image_path", "img_path", "file_name"),
    "video": ("video", "video_path"),
}
"""Names that are looked for where the user names none."""
FIRST_ROWS = 100
"""Are read to learn the columns: JSON's rows may each have others."""
PARQUET_ROWS = 256
"""In memory at a time: rows may hold pictures."""


class TableCollection:
    """The rows of a parquet, JSONL, JSON, CSV or TSV file.

    Picture and video files are relative to the table's folder and must lie below it; addresses are not fetched.
    """

    def __init__(self, path: Path, columns: Columns) -> None:
        self.path = path
        self.left_out: Counter[str] = Counter()
        self.root = path.parent
        found = list(islice(self._all(), FIRST_ROWS))
        rows = [row for row in found if isinstance(row, dict)]
        if not rows:
            raise UserError(f"{path}: {'rows are not objects with columns' if found else 'no rows'}")
        first = {name: value for row in reversed(rows) for name, value in row.items()}
        self._columns = _choose(path, first, columns)
        self._fields = _field_names(path, first, columns, self._columns)

    def parts(self, size: int) -> Iterator[Part]:
        """``size`` rows each, by their places from 0; of a JSONL file also by where they begin, so that a part is
        found without reading those before it."""
        if self.path.suffix.lower() == ".jsonl":
            yield from _jsonl_parts(self.path, size)
            return
        rows = _count_rows(self.path)
        for start in range(0, rows, size):
            yield {"start": start, "stop": min(rows, start + size)}

    def read(self, part: Part) -> Iterator[Entry | BadEntry]:
        """The entries of a part."""
        yield from self._entries(_rows(self.path, part), part["start"])

    def state(self) -> str:
        """Of the table; a picture that was replaced beside it does not show."""
        return state_of([(self.path.name, self.path)])

    def size(self) -> int:
        """Rows."""
        return _count_rows(self.path)

    def __iter__(self) -> Iterator[Entry | BadEntry]:
        yield from self._entries(self._all(), 0)

    def _all(self) -> Iterator[Any]:
        parquet = self.path.suffix.lower() == ".parquet"
        return _parquet_rows(self.path, 0, _count_rows(self.path)) if parquet else records(self.path)

    def _entries(self, rows: Iterator[Any], start: int) -> Iterator[Entry | BadEntry]:
        for number, row in enumerate(rows, start=start + 1):
            where = f"{self.path.name} row {number}"
            if isinstance(row, DataError):
                yield BadEntry(where, str(row))
                continue
            try:
                yield self._entry(row)
            except (DataError, OSError, ValueError) as error:  # the latter of names with a NUL in them
                key = row.get(self._columns.get("id", "")) if isinstance(row, dict) else None
                yield BadEntry(where if key is None else str(key), f"{where}: {error}")

    def _entry(self, row: Any) -> Entry:
        if not isinstance(row, dict):
            raise DataError("not an object with columns")
        value = {ours: _present(row.get(theirs)) for ours, theirs in self._columns.items()}
        text = _text(value.get("text"))
        image, name = self._picture(value.get("image"))
        video = self._path(value["video"]) if value.get("video") else None
        if not text and image is None and video is None:
            raise DataError("no text, picture or video")
        key = value.get("id")
        if key is None or key == "":
            key = _content_key(text, image, video)
        file = video or (split_page(image)[0] if isinstance(image, Path) else None)
        return Entry(
            key=str(key),
            item=Item(text, image, video),
            name=str(value["video"]) if video else name,
            stamp="" if file is None or not file.is_file() else stamp_of(file, text),
            fields={name: scalar(row.get(name)) for name in self._fields},
        )

    def _picture(self, value: Any) -> tuple[Path | bytes | None, str]:
        """The picture, and its name."""
        if isinstance(value, Mapping):  # Hugging Face's Image
            name = str(value.get("path") or "")
            content = value.get("bytes")
            if content is not None and not isinstance(content, bytes):
                raise DataError(f"{content!r:.60} are no bytes of a picture")
            return (content, name) if content else self._picture(value.get("path"))
        if isinstance(value, bytes):
            return value, ""
        return (self._path(value), str(value)) if value else (None, "")

    def _path(self, value: Any) -> Path:
        if not isinstance(value, str):
            raise DataError(f"{value!r:.60} is no path")
        if "://" in value or value.startswith("data:"):
            raise DataError(f"{value[:80]}: an address; nothing is fetched, download it first")
        path = self.root / value
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise DataError(f"{value}: outside the table's folder")
        return path


def _present(value: Any) -> Any:
    """None also of nan, as which pandas writes what is missing."""
    return None if isinstance(value, float) and value != value else value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        raise DataError(f"{value!r:.60} is no text")
    return legible(str(value)).strip()


def _choose(path: Path, row: Mapping[str, Any], columns: Columns) -> dict[str, str]:
    """Our name of a column -> the table's."""
    chosen = {}
    for ours, usual in USUAL.items():
        asked = getattr(columns, ours)
        if asked is not None and asked not in row:
            raise UserError(f"{path}: no column {asked!r} for --columns.{ours}; there are: {', '.join(row)}")
        name = asked or next((name for name in usual if name in row), None)
        if name is not None:
            chosen[ours] = name
    if not {"text", "image", "video"} & chosen.keys():
        raise UserError(f"{path}: which column is what? --columns.text or --columns.image; there are: {', '.join(row)}")
    return chosen


def _field_names(path: Path, row: Mapping[str, Any], columns: Columns, chosen: Mapping[str, str]) -> list[str]:
    if columns.fields is None:
        taken = set(chosen.values())
        return [name for name, value in row.items() if name not in taken and not isinstance(value, bytes | Mapping)]
    names = [name.strip() for name in columns.fields.split(",") if name.strip()]
    for name in names:
        if name not in row:
            raise UserError(f"{path}: no column {name!r} for --columns.fields; there are: {', '.join(row)}")
    return names


def _content_key(text: str, image: Path | bytes | None, video: Path | None) -> str:
    """A name for a row without one: rows of equal content are one."""
    media = image if isinstance(image, bytes) else str(video or image or "").encode()
    return hashlib.sha256(json.dumps(text).encode() + b"|" + media).hexdigest()[:32]


def _count_rows(path: Path) -> int:
    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet as pq

        try:
            return int(pq.read_metadata(path).num_rows)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot read ({error})") from None
    return sum(1 for _ in records(path))


def _jsonl_parts(path: Path, size: int) -> Iterator[Part]:
    start = rows = offset = first = 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                if rows == start:
                    first = offset
                rows += 1
                if rows - start == size:
                    yield {"start": start, "stop": rows, "offset": first}
                    start = rows
            offset += len(line)
    if rows > start:
        yield {"start": start, "stop": rows, "offset": first}


def _rows(path: Path, part: Part) -> Iterator[Any]:
    start, stop = part["start"], part["stop"]
    if path.suffix.lower() == ".parquet":
        yield from _parquet_rows(path, start, stop)
    elif path.suffix.lower() == ".jsonl":
        with path.open("rb") as file:
            file.seek(part["offset"])
            lines = islice((line for line in file if line.strip()), stop - start)
            for number, line in enumerate(lines, start=start + 1):
                try:
                    yield json_line(line)
                except ValueError as error:
                    yield DataError(f"{path}: cannot read (row {number}: {error})")
    else:
        yield from islice(records(path), start, stop)


def _parquet_rows(path: Path, start: int, stop: int) -> Iterator[Any]:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            first = 0
            for group in range(file.num_row_groups):
                last = first + file.metadata.row_group(group).num_rows
                if last > start and first < stop:
                    for batch in file.iter_batches(batch_size=PARQUET_ROWS, row_groups=[group]):
                        low, high = max(start - first, 0), min(stop - first, batch.num_rows)
                        if low < high:
                            yield from batch.slice(low, high - low).to_pylist()
                        first += batch.num_rows
                first = last
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read ({error})") from None
