"""The rows of a parquet file, a budget of bytes at a time, whatever a row holds."""

import datetime
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llave.errors import DataError

__all__ = ["count_parquet", "dates_of_parquet", "read_parquet"]

BATCH_BYTES = 4 << 20
"""Of rows in memory at a time, as Arrow counts them; a single row may have more."""
BATCH_ROWS = 4096
PROBE_ROWS = 16
"""Read first: a dictionary or a compression makes rows larger than the file's footer says."""
BUFFER_BYTES = 1 << 20
"""Of a column read ahead, in place of its whole part of a row group."""


def count_parquet(path: Path) -> int:
    """Rows, by the footer alone."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def dates_of_parquet(path: Path) -> set[str]:
    """The columns of dates and of dates with times, by the footer alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    return {column.name for column in schema if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type)}


def read_parquet(path: Path, start: int = 0, stop: int | None = None) -> Iterator[Any]:
    """Rows ``start`` to ``stop - 1`` as dicts, without reading row groups that hold none of them.

    A row with a cell that has no value in Python is a ``DataError`` in its place. Raises what pyarrow does.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False) as file:
        batches = _Batches(file)
        times = any(_has_times(column.type) for column in file.schema_arrow)
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        if sum(sizes) != file.metadata.num_rows:
            raise ValueError(f"a damaged footer: {file.metadata.num_rows:,} rows, and {sum(sizes):,} in its row groups")
        first = 0
        for group, rows in enumerate(sizes):
            low, high = max(start - first, 0), rows if stop is None else min(stop - first, rows)
            for batch in batches.of(group, low, high) if low < high else ():
                yield from _rows(batch, path, first + low, times)
                low += len(batch)
            first += rows


class _Batches:
    """Record batches of about :data:`BATCH_BYTES`, never of two row groups at once."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.growth = 0.0
        """How many times larger rows were in memory than in the footer; 0 as long as none was seen."""

    def of(self, group: int, low: int, high: int) -> Iterator[Any]:
        """Rows ``low`` to ``high - 1`` of a row group."""
        about = self.file.metadata.row_group(group)
        stored = max(about.total_byte_size / max(about.num_rows, 1), 1.0)
        while low < high:
            size = self._size(stored)
            first = 0
            for batch in self.file.iter_batches(size, row_groups=[group]):
                last = first + len(batch)
                if last > low:
                    part = batch.slice(low - first, min(high, last) - low)
                    self.growth = max(part.nbytes / len(part) / stored, self.growth / 2)
                    yield part
                    low += len(part)
                first = last
                if low >= high or not size / 2 <= self._size(stored) <= 4 * size:
                    break  # the size was wrong: go on with a better one
            else:
                raise ValueError(f"{high - low:,} rows of a row group are not there")

    def _size(self, stored: float) -> int:
        fitting = int(BATCH_BYTES / (stored * (self.growth or 1.0)))
        return max(1, min(fitting, BATCH_ROWS if self.growth else PROBE_ROWS))


def _rows(batch: Any, path: Path, first: int, times: bool) -> Iterator[Any]:
    try:
        rows = batch.to_pylist()
    except Exception:
        for place in range(len(batch)):
            yield _row(batch, place, f"{path}: row {first + place}, counted from 0")
        return
    yield from map(_plain, rows) if times else rows


def _row(batch: Any, place: int, where: str) -> Any:
    """A row cell by cell, or what is wrong with it."""
    row = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            row[name] = _value(column[place])
        except Exception as error:
            return DataError(f"{where}, column {name}: cannot read ({error})")
    return row


def _value(scalar: Any) -> Any:
    """A cell in Python; a time that Python does not know (after the year 9999, nanoseconds) as ISO text."""
    import pyarrow as pa

    try:
        return _plain(scalar.as_py())
    except Exception:
        if pa.types.is_struct(scalar.type):
            return {name: _value(value) for name, value in scalar.items()}
        if pa.types.is_list(scalar.type) or pa.types.is_large_list(scalar.type):
            return [_value(value) for value in scalar.values]
        if pa.types.is_duration(scalar.type):
            seconds = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
            return f"PT{scalar.value / seconds[scalar.type.unit]}S"
        if pa.types.is_temporal(scalar.type):
            return str(scalar.cast(pa.string()).as_py()).replace(" ", "T")
        raise


def _plain(value: Any) -> Any:
    """Without objects that only Python has: times become ISO texts."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, datetime.timedelta):
        return f"PT{value.total_seconds()}S"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID) else value


def _has_times(kind: Any) -> bool:
    """Whether values of an Arrow type need :func:`_plain`: times, in whatever, and what is not of Arrow's own types."""
    import pyarrow as pa

    if pa.types.is_temporal(kind) or isinstance(kind, pa.BaseExtensionType):
        return True
    if pa.types.is_dictionary(kind):
        return _has_times(kind.value_type)
    return any(_has_times(kind.field(number).type) for number in range(kind.num_fields))
