"""Training rows as memory-mapped Arrow, made once from any table and kept in the cache.

    CACHE/rows/KEY/rows.arrow   six string columns, in record batches of BATCH_ROWS
                   ids.npy      (N, 2) int64: content ids of query and positive, for the sampler
                   about.json   the files and their numbers of rows; rows without use, and why
                   pictures/    pictures that were in the table itself, by the hash of their bytes

The key covers path, size and modification time of every file, and the columns asked for, so that a changed file is
converted again. A row costs a run 16 bytes for its ids; its texts stay on disk until they are asked for.
"""

import dataclasses
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock
from rich.console import Console
from rich.progress import track

from llave.data.cache import cache_directory
from llave.data.mmeb import RowItem, TrainRow, parse_train, strip_placeholder
from llave.data.raw_rows import ALL_COLUMNS, iterate, our_columns
from llave.data.sources import Source
from llave.errors import DataError

__all__ = ["BATCH_ROWS", "EMBEDDED", "About", "item_id", "stored"]

VERSION = 1
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


def item_id(item: RowItem, salt: str = "") -> int:
    """A 63-bit id of the content: items with the same text and picture are the same target."""
    parts = [strip_placeholder(item.text), item.image, *([salt] if salt and item.image else [])]
    return int.from_bytes(hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest(), "big") >> 1


def stored(source: Source, *, cache: Path | None = None, progress: bool = True) -> tuple[Path, About]:
    """The folder of a source's store, converted now if it was not before.

    Raises:
        DataError: an unreadable file or a missing column; nothing is kept then.
    """
    root = (cache or cache_directory()) / "rows"
    root.mkdir(parents=True, exist_ok=True)
    key = _key(source)
    folder = root / key
    if not (folder / "about.json").is_file():
        with FileLock(root / f"{key}.lock"):  # processes of one run ask at once
            if not (folder / "about.json").is_file():
                _convert(source, folder, progress)
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
    asked = [VERSION, files, sorted(source.columns.items()), source.salt]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]


def _convert(source: Source, folder: Path, progress: bool) -> None:
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}."))
    try:
        about = _write(source, partial, progress)
        (partial / "about.json").write_text(json.dumps(dataclasses.asdict(about)), "utf-8")
        partial.replace(folder)  # whole or not at all
    except BaseException:
        shutil.rmtree(partial)
        raise


def _write(source: Source, folder: Path, progress: bool) -> About:
    about = About()
    console = Console(stderr=True)
    with (
        pa.OSFile(str(folder / "rows.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, SCHEMA) as writer,
        (folder / "ids.bin").open("wb") as ids,
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
            if len(chunk.ids) == BATCH_ROWS:
                chunk.flush(writer, ids)
        chunk.flush(writer, ids)
    np.save(folder / "ids.npy", np.fromfile(folder / "ids.bin", np.int64).reshape(-1, 2))
    (folder / "ids.bin").unlink()
    return about


def _rows(source: Source, about: About) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in source.files:
        count = 0
        for row in iterate(path):
            where = f"{path} row {count}"
            yield where, our_columns(row, where, source.columns)
            count += 1
        about.files.append((str(path), count))


class _Chunk:
    """Rows on their way to a record batch."""

    def __init__(self, folder: Path, source: Source, about: About) -> None:
        self.folder = folder
        self.source = source
        self.about = about
        self.columns: list[list[str]] = [[] for _ in ALL_COLUMNS]
        self.ids: list[tuple[int, int]] = []

    def add(self, number: int, where: str, row: dict[str, Any]) -> None:
        """Append a row; one without use is kept as empty strings, so that numbers stay those of the file."""
        for name in ALL_COLUMNS:
            if name.endswith("_image_path"):
                row[name] = self._picture(row[name])
        try:
            parsed = parse_train(row, where)
            _check_unicode(parsed, where)
        except DataError as error:
            self.about.bad.append((number, str(error)))
            parsed = TrainRow(RowItem(), RowItem())
        self.about.negatives += parsed.negative is not None
        values = [parsed.query, parsed.positive, parsed.negative or RowItem()]
        for place, item in enumerate(values):
            self.columns[2 * place].append(item.text)
            self.columns[2 * place + 1].append(item.image)
        self.ids.append((item_id(parsed.query, self.source.salt), item_id(parsed.positive, self.source.salt)))

    def flush(self, writer: Any, ids: Any) -> None:
        """Write what was added."""
        if self.ids:
            writer.write_batch(pa.record_batch([pa.array(column, pa.string()) for column in self.columns], SCHEMA))
            ids.write(np.array(self.ids, np.int64).tobytes())
        self.columns = [[] for _ in ALL_COLUMNS]
        self.ids = []

    def _picture(self, value: Any) -> Any:
        """The path of a picture. One in the table itself (bytes, or the hub's ``{"bytes", "path"}``) becomes a file."""
        if isinstance(value, dict) and {"bytes", "path"} >= set(value):
            value = value.get("bytes") or value.get("path")
        if not isinstance(value, bytes):
            return value
        name = hashlib.blake2b(value, digest_size=16).hexdigest()
        path = self.folder / "pictures" / name[:2] / name
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(value)
        return f"{EMBEDDED}{name[:2]}/{name}"


def _check_unicode(row: TrainRow, where: str) -> None:
    """JSON can hold half a surrogate pair, which no UTF-8 file can."""
    try:
        for item in (row.query, row.positive, row.negative):
            if item is not None:
                (item.text + item.image).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: a text is not valid Unicode ({error.reason})") from None
