"""The rows of a table, one at a time: parquet, JSONL, JSON, CSV and TSV. Nothing else in llave reads these.

A row is what JSON can hold (dicts of texts, numbers, truth values, lists and None), or bytes or decimals; times are
texts in ISO form. A row that cannot be read is a ``DataError`` in its place and costs itself, so that the numbers of
the others stay. Damage behind which nothing can be found is one such error, the last, and says so. Only a file of which
nothing can be read raises.

In memory at a time: of parquet a budget of bytes (:mod:`llave.data.parquet`), of JSONL and CSV a row, of JSON the text
of the file. Encodings: :mod:`llave.data.encodings`.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from llave.data.encodings import decode_text, encoding_of, is_wide
from llave.data.parquet import count_parquet, read_parquet
from llave.errors import DataError, UserError

__all__ = [
    "TABLE_SUFFIXES",
    "Part",
    "as_text",
    "count_rows",
    "is_table",
    "named_tables",
    "parts",
    "quoted",
    "read_part",
    "read_table",
]

Part = dict[str, int]
"""Some rows of a table: ``start`` and ``stop``, counted from 0, and of JSONL the ``offset`` of the first in bytes."""
TABLE_SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv")
"""Of the names of tables, in any case."""
LONGEST_CELL = 2**31 - 1
ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")
SPACE = re.compile(r"[ \t\r\n]*")


def is_table(path: Path) -> bool:
    """Whether it is one by its name."""
    return path.suffix.lower() in TABLE_SUFFIXES


def named_tables(folder: Path) -> dict[str, Path]:
    """The tables in a folder by their names without suffix, sorted; of two formats the first of the suffixes."""
    found: dict[str, Path] = {}
    for suffix in TABLE_SUFFIXES:
        for path in sorted(folder.glob("*")):
            if path.suffix.lower() == suffix and path.name[0] != ".":
                found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def read_table(path: Path) -> Iterator[Any]:
    """Every row, or in its place the error of one that cannot be read.

    Raises:
        DataError: no table by its name, or a file of which nothing can be read.
    """
    return _guarded(path, lambda: READERS[_suffix(path)](path))


def count_rows(path: Path) -> int:
    """How many rows :func:`read_table` yields. Parquet's footer tells; lines of JSONL are counted; others are read.

    Raises:
        DataError: as :func:`read_table`.
    """
    if _suffix(path) == ".parquet":
        return int(next(_guarded(path, lambda: iter([count_parquet(path)]))))
    return sum(1 for _ in (_guarded(path, lambda: _lines(path)) if _suffix(path) == ".jsonl" else read_table(path)))


def parts(path: Path, size: int) -> Iterator[Part]:
    """The table in parts of ``size`` rows, which depend on the file alone.

    Raises:
        DataError: as :func:`read_table`.
    """
    if _suffix(path) == ".jsonl":
        yield from _guarded(path, lambda: _jsonl_parts(path, size))
        return
    rows = count_rows(path)
    for start in range(0, rows, size):
        yield {"start": start, "stop": min(rows, start + size)}


def read_part(path: Path, part: Part) -> Iterator[Any]:
    """The rows of a part, as :func:`read_table` yields them; of parquet and JSONL without reading those before it."""
    start, stop = part["start"], part["stop"]
    if _suffix(path) == ".parquet":
        return _guarded(path, lambda: read_parquet(path, start, stop))
    if "offset" in part:
        return islice(_guarded(path, lambda: _jsonl(path, part["offset"], start)), stop - start)
    return islice(read_table(path), start, stop)


def as_text(value: Any) -> str:
    """A cell where a text belongs: nothing is empty, a number is as Python writes it (``3``, ``0.5``, ``True``).

    Raises:
        DataError: anything else.
    """
    if isinstance(value, str):
        return value
    if value is None or value != value:  # nan, as which pandas writes what is missing
        return ""
    if isinstance(value, int | float | Decimal):
        return str(value)
    raise DataError(f"{quoted(value)} is no text")


def quoted(value: Any, length: int = 60) -> str:
    """A value as a message shows it, of what is long the beginning."""
    shown = repr(value[: length + 1] if isinstance(value, str | bytes) else value)
    return shown if len(shown) <= length + 3 else f"{shown[:length]}…"


def _suffix(path: Path) -> str:
    if not is_table(path):
        raise DataError(f"{path}: not a {', '.join(TABLE_SUFFIXES)} file")
    return path.suffix.lower()


def _guarded(path: Path, read: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """What a reader yields; what it raises, whatever that is, is an error of this file."""
    count = 0
    try:
        for row in read():
            yield row
            count += 1
    except UserError as error:
        if not count:
            raise
        yield DataError(f"{error}; the rows after it are missing")
    except Exception as error:
        reason = f"{path}: cannot read ({' '.join(str(error).split())[:300] or type(error).__name__})"
        if not count:
            raise DataError(reason) from None
        yield DataError(f"{reason}; the rows after row {count - 1}, counted from 0, are missing")


def _lines(path: Path, offset: int = 0) -> Iterator[tuple[int, int, bytes | str]]:
    """(number from 1, where it begins in bytes, line) of every line that is not blank; text where bytes hold no lines.

    Lines end with "\\n" alone: U+2028 and the like are letters.
    """
    encoding = encoding_of(path)
    if is_wide(encoding):
        with path.open(encoding=encoding, newline="\n") as file:
            yield from ((number, 0, line) for number, line in enumerate(file, start=1) if line.strip())
        return
    with path.open("rb") as file:
        file.seek(offset)
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, offset, line
            offset += len(line)


def _jsonl_parts(path: Path, size: int) -> Iterator[Part]:
    wide = is_wide(encoding_of(path))
    start = rows = first = 0
    for _, offset, _ in _lines(path):
        first = offset if rows == start else first
        rows += 1
        if rows - start == size:
            yield {"start": start, "stop": rows, **({} if wide else {"offset": first})}
            start = rows
    if rows > start:
        yield {"start": start, "stop": rows, **({} if wide else {"offset": first})}


def _jsonl(path: Path, offset: int = 0, first: int | None = None) -> Iterator[Any]:
    """Args: first: number of the row at ``offset``, where the line's is not known."""
    encoding = encoding_of(path)
    for row, (number, _, line) in enumerate(_lines(path, offset), start=first or 0):
        try:
            text = line if isinstance(line, str) else line.decode(encoding)
            value = json.loads(text)
            if "\\u" in text and ESCAPED_HALF.search(text):
                _check_halves(value)
            yield value
        except (ValueError, RecursionError) as error:
            where = f"line {number}" if first is None else f"row {row}, counted from 0"
            whole = line[-1:] in ("\n", b"\n")
            cut = "" if whole else "; the file ends in this row: if it was cut off, the rows after it are missing"
            yield DataError(f"{path}: cannot read ({where}: {_reason(error)}){cut}")


def _json(path: Path) -> Iterator[Any]:
    text = decode_text(path.read_bytes(), str(path))
    halves = ESCAPED_HALF.search(text) is not None
    decoder = json.JSONDecoder()

    def after_space(place: int) -> int:
        found = SPACE.match(text, place)
        assert found is not None, "no space is a match too"
        return found.end()

    def failure(reason: str) -> DataError:
        return DataError(f"{path}: cannot read (line {text.count(chr(10), 0, place) + 1}: {reason})")

    place = after_space(0)
    if text[place : place + 1] != "[":
        json.loads(text)  # says what is wrong, if it is no JSON
        raise DataError(f"{path}: expected a list of rows")
    place = after_space(place + 1)
    while text[place : place + 1] != "]":
        try:
            row, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            raise failure(_reason(error)) from None
        try:
            if halves:
                _check_halves(row)
            yield row
        except ValueError as error:
            yield failure(str(error))
        place = after_space(end)
        if text[place : place + 1] == ",":
            place = after_space(place + 1)
        elif text[place : place + 1] != "]":
            raise failure("no , or ] after a row")
    place = after_space(place + 1)
    if place < len(text):
        raise failure("more than a list")


def _csv(path: Path) -> Iterator[Any]:
    encoding = encoding_of(path)
    with path.open(encoding=encoding, errors="surrogateescape", newline="") as file:
        names_line = file.readline()  # open_clip's tables are called .csv and have tabs
        delimiter = "\t" if path.suffix.lower() == ".tsv" or ("\t" in names_line and "," not in names_line) else ","
        file.seek(0)
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        names: list[str] | None = None
        while True:
            csv.field_size_limit(LONGEST_CELL)  # Python's, for all threads; whoever lowers it meanwhile costs a row
            line = rows.line_num + 1
            try:
                cells = next(rows)
                if not cells:
                    continue
                "".join(cells).encode()
                if names is None:
                    names = _names(cells)
                    continue
                if len(cells) != len(names):
                    raise ValueError(f"not as many fields as the {len(names)} names")
                yield dict(zip(names, cells, strict=True))
            except StopIteration:
                return
            except (ValueError, csv.Error) as error:
                lines = f"line {line}" if rows.line_num <= line else f"lines {line} to {rows.line_num}"
                reason = f"not valid {encoding}" if isinstance(error, UnicodeEncodeError) else error
                failure = DataError(f"{path}: cannot read ({lines}: {reason})")
                if names is None or "unexpected end" in str(error):  # a quote that is never closed
                    raise failure from None
                yield failure


def _names(cells: list[str]) -> list[str]:
    twice = next((name for name in cells if name and cells.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two columns are called {twice}")
    return cells


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)


def _check_halves(row: Any) -> None:
    """JSON can hold half a surrogate pair, which no UTF-8 file, model or index can."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text is not valid Unicode: it has half a character") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


READERS: dict[str, Callable[[Path], Iterator[Any]]] = {
    ".parquet": read_parquet,
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
}
