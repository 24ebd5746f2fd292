"""Training rows as memory-mapped Arrow, made once from any table and kept in the cache.

    CACHE/rows/KEY/rows.arrow   six string columns, in record batches of BATCH_ROWS
                   ids.npy      (N, 3) int64: content ids of query, positive and negative (llave.data.row_ids)
                   about.json   the files and their numbers of rows; rows without use, and why
                   pictures/    pictures that were in the table itself, by the hash of their bytes

The key covers path, size and modification time of every file, the columns asked for and the folder of the pictures, so
that a changed file is converted again; pictures that have changed give new ids. A row costs a run 24 bytes for its ids;
its texts stay on disk until they are asked for.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock
from rich.console import Console
from rich.progress import track

from llave.data.cache import cache_directory
from llave.data.inline import inline_bytes
from llave.data.mmeb import ALL_COLUMNS, RowItem, TrainRow, our_columns, parse_train
from llave.data.row_ids import identify
from llave.data.sources import Source
from llave.data.tables import read_table
from llave.data.training_pictures import Identities
from llave.errors import DataError
from llave.files import whole_folder
from llave.storage.location import Location

__all__ = ["BATCH_ROWS", "EMBEDDED", "About", "picture_file", "stored"]

VERSION = 2
BATCH_ROWS = 8192
EMBEDDED = "embedded:"
"""Before the path of a picture that was in the table: relative to the store's pictures/, not to the source's."""
SCHEMA = pa.schema([(name, pa.string()) for name in ALL_COLUMNS])


@dataclass(slots=True)
class About:
    """What a store holds.

    Args:
        files: path and number of rows of each file, in order.
        bad: row number over all files, and why the row has no use.
        negatives: rows with a hard negative.
    """

    files: list[tuple[str, int]] = field(default_factory=list)
    bad: list[tuple[int, str]] = field(default_factory=list)
    negatives: int = 0

    @property
    def rows(self) -> int:
        """Of all files."""
        return sum(number for _, number in self.files)


def picture_file(path: str, images: Location, folder: Path) -> Location:
    """The file of a picture of the rows in a store's folder."""
    return folder / "pictures" / path.removeprefix(EMBEDDED) if path.startswith(EMBEDDED) else images / path


def stored(source: Source, *, cache: Path | None = None, progress: bool = True) -> tuple[Path, About]:
    """The folder of a source's store, converted now if it was not before.

    Raises:
        DataError: an unreadable file or a missing column; nothing is kept then.
    """
    root = (cache or cache_directory()) / "rows"
    root.mkdir(parents=True, exist_ok=True)
    key = _key(source)
    folder = root / key
    with FileLock(root / f"{key}.lock"):  # processes of one run ask at once
        if not (folder / "about.json").is_file():
            _convert(source, folder, progress)
        identify(folder, lambda path: picture_file(path, source.images, folder), Identities(source.images))
    about = json.loads((folder / "about.json").read_text("utf-8"))
    return folder, About(
        files=[(path, rows) for path, rows in about["files"]],
        bad=[(row, reason) for row, reason in about["bad"]],
        negatives=about["negatives"],
    )


def _key(source: Source) -> str:
    try:
        files = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in source.files]
    except OSError as error:
        raise DataError(f"{error.filename}: cannot read ({error.strerror})") from None
    asked = [VERSION, files, sorted(source.columns.items()), str(source.images.resolve())]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]


def _convert(source: Source, folder: Path, progress: bool) -> None:
    with whole_folder(folder) as partial:
        about = _write(source, partial, progress)
        (partial / "about.json").write_text(json.dumps(dataclasses.asdict(about)), "utf-8")


def _write(source: Source, folder: Path, progress: bool) -> About:
    about = About()
    console = Console(stderr=True)
    with (
        pa.OSFile(str(folder / "rows.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, SCHEMA) as writer,
    ):
        chunk = _Chunk(folder, source, about)
        rows = _rows(source, about)
        for number, (where, row) in enumerate(
            track(
                rows,
                description=f"reading {source.name}",
                console=console,
                transient=True,
                total=None,
                disable=not progress or not console.is_terminal,
            )
        ):
            chunk.add(number, where, row)
            if len(chunk) == BATCH_ROWS:
                chunk.flush(writer)
        chunk.flush(writer)
    return about


def _rows(source: Source, about: About) -> Iterator[tuple[str, dict[str, Any] | DataError]]:
    """(where, row under our names) of every file, or in place of a row what is wrong with it.

    Raises:
        DataError: the first row of a file has not the columns, and so has none.
    """
    for path in source.files:
        count = fitting = 0
        for row in read_table(path):
            where = f"{path} row {count}"
            try:
                yield where, row if isinstance(row, DataError) else our_columns(row, where, source.columns)
                fitting += not isinstance(row, DataError)
            except DataError as error:
                if not fitting:
                    raise
                yield where, error
            count += 1
        about.files.append((str(path), count))


class _Chunk:
    """Rows on their way to a record batch."""

    def __init__(self, folder: Path, source: Source, about: About) -> None:
        self.folder = folder
        self.source = source
        self.about = about
        self.columns: list[list[str]] = [[] for _ in ALL_COLUMNS]

    def __len__(self) -> int:
        return len(self.columns[0])

    def add(self, number: int, where: str, row: dict[str, Any] | DataError) -> None:
        """Append a row; one without use is kept as empty strings, so that numbers stay those of the file."""
        try:
            if isinstance(row, DataError):
                raise row
            for name in ALL_COLUMNS:
                if name.endswith("_image_path"):
                    row[name] = self._picture(row[name], where)
            parsed = parse_train(row, where)
        except OSError:  # of our own disk
            raise
        except Exception as error:  # of one row, whatever is in it
            self.about.bad.append((number, str(error) if isinstance(error, DataError) else f"{where}: {error}"))
            parsed = TrainRow(RowItem(), RowItem())
        self.about.negatives += parsed.negative is not None
        for place, item in enumerate((parsed.query, parsed.positive, parsed.negative or RowItem())):
            self.columns[2 * place].append(item.text)
            self.columns[2 * place + 1].append(item.image)

    def flush(self, writer: Any) -> None:
        """Write what was added."""
        if len(self):
            writer.write_batch(pa.record_batch([pa.array(column, pa.string()) for column in self.columns], SCHEMA))
        self.columns = [[] for _ in ALL_COLUMNS]

    def _picture(self, value: Any, where: str) -> Any:
        """The path of a picture. One in the table itself (bytes, or the hub's ``{"bytes", "path"}``) becomes a file."""
        if isinstance(value, dict) and {"bytes", "path"} >= set(value):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, str):
            try:
                value = inline_bytes(value) or value
            except DataError as error:
                raise DataError(f"{where}: {error}") from None
        if not isinstance(value, bytes):
            return value
        name = hashlib.blake2b(value, digest_size=16).hexdigest()
        path = self.folder / "pictures" / name[:2] / name
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(value)
        return f"{EMBEDDED}{name[:2]}/{name}"
