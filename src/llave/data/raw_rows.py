"""The rows of a table as they are written, one at a time: parquet, JSONL, JSON, CSV and TSV."""

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llave.data.mmeb import TRAIN_COLUMNS
from llave.errors import DataError

__all__ = ["ALL_COLUMNS", "NEGATIVE_COLUMNS", "iterate", "our_columns"]

NEGATIVE_COLUMNS = ("neg_text", "neg_image_path")
ALL_COLUMNS = (*TRAIN_COLUMNS, *NEGATIVE_COLUMNS)
CHUNK = 4096  # rows of a parquet file in memory at a time


def iterate(path: Path) -> Iterator[Any]:
    """Every row of a table; all but a JSON list are read in pieces.

    Raises:
        DataError: a file that cannot be read, with its line where the format has lines.
    """
    reader = {".parquet": _parquet, ".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _csv}.get(path.suffix)
    if reader is None:
        raise DataError(f"{path}: not a .parquet, .jsonl, .json, .csv or .tsv file")
    try:
        yield from reader(path)
    except (OSError, ValueError, csv.Error) as error:  # pyarrow's and json's errors are ValueErrors
        raise DataError(f"{path}: cannot read ({error})") from None


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
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise ValueError(f"line {number}: {error}") from None


def _json(path: Path) -> Iterator[Any]:
    loaded = json.loads(path.read_text("utf-8"))
    if not isinstance(loaded, list):
        raise DataError(f"{path}: expected a list of rows")
    yield from loaded


def _csv(path: Path) -> Iterator[Any]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a long text is no mistake
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(
                    f"line {reader.line_num}: not as many fields as the {len(reader.fieldnames or ())} names"
                )
            yield row
