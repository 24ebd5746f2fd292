"""The rows of a table as they are written, one at a time: parquet, JSONL, JSON, CSV and TSV."""

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llave.data.mmeb import TRAIN_COLUMNS
from llave.errors import DataError

__all__ = ["ALL_COLUMNS", "NEGATIVE_COLUMNS", "iterate", "json_line", "our_columns", "records"]

NEGATIVE_COLUMNS = ("neg_text", "neg_image_path")
ALL_COLUMNS = (*TRAIN_COLUMNS, *NEGATIVE_COLUMNS)
CHUNK = 4096  # rows of a parquet file in memory at a time


def iterate(path: Path) -> Iterator[Any]:
    """Every row of a table; all but a JSON list are read in pieces.

    Raises:
        DataError: a file that cannot be read, with its line where the format has lines.
    """
    for row in records(path):
        if isinstance(row, DataError):
            raise row
        yield row


def records(path: Path) -> Iterator[Any]:
    """The same; in place of a line of JSONL, or of a CSV row with too few or too many fields, the error.

    Raises:
        DataError: a file that cannot be read on.
    """
    readers = {".parquet": _parquet, ".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: not a .parquet, .jsonl, .json, .csv or .tsv file")
    try:
        for row in reader(path):
            yield DataError(f"{path}: cannot read ({row})") if isinstance(row, ValueError) else row
    except (OSError, ValueError, RecursionError, csv.Error) as error:  # pyarrow's and json's errors are ValueErrors
        raise DataError(f"{path}: cannot read ({error})") from None


def json_line(line: bytes) -> Any:
    """A line of JSONL.

    Raises:
        ValueError: it is not JSON in UTF-8.
    """
    try:
        return json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def our_columns(row: Any, where: str, columns: Mapping[str, str]) -> dict[str, Any]:
    """A row under our column names.

    Args:
        where: for messages, e.g. "FILE row 3".
        columns: our name -> the file's. Empty: the row must have ours (negatives may be absent). Otherwise a column
            that is neither mapped nor there is empty.

    Raises:
        DataError: not an object, or a column is missing.
    """
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object with columns {', '.join(TRAIN_COLUMNS)}")
    needed: Sequence[str] = tuple(columns.values()) if columns else TRAIN_COLUMNS
    missing = [name for name in needed if name not in row]
    if missing:
        asked = "".join(f" (asked for as {ours})" for ours, theirs in columns.items() if theirs == missing[0])
        raise DataError(f"{where}: missing column {', '.join(missing)}{asked}; it has {', '.join(map(str, row))}")
    return {name: row.get(columns.get(name, name)) for name in ALL_COLUMNS}


def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=CHUNK):
            yield from batch.to_pylist()


def _jsonl(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield json_line(line)
                except ValueError as error:
                    yield ValueError(f"line {number}: {error}")


def _json(path: Path) -> Iterator[Any]:
    loaded = json.loads(path.read_text("utf-8"))
    if not isinstance(loaded, list):
        raise DataError(f"{path}: expected a list of rows")
    yield from loaded


def _csv(path: Path) -> Iterator[Any]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a long text is no mistake
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
        for row in reader:
            if None in row or None in row.values():
                names = len(reader.fieldnames or ())
                yield ValueError(f"line {reader.line_num}: not as many fields as the {names} names")
            else:
                yield row
