"""Chosen items as a table, or their own files in a ZIP that is written while it is read."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from pydantic_core import to_json

from llave.serving.errors import ApiError

if TYPE_CHECKING:
    from llave.search.index import Index
    from llave.search.store import Row

__all__ = ["Export", "Format", "export"]

Format = Literal["csv", "json", "zip"]
PIECE = 1 << 18
"""Bytes of a file at a time."""
LEFT_OUT = "left_out.txt"


@dataclass(frozen=True, slots=True)
class Export:
    """What is sent.

    Args:
        content: whole, or piece by piece.
        left_out: items whose files are not in it.
    """

    content: bytes | Iterator[bytes]
    media_type: str
    items: int
    left_out: int = 0


def export(index: "Index", ids: Sequence[str], form: Format, *, most_bytes: int) -> Export:
    """Items in the order of their ids; unknown ones are left out.

    Args:
        most_bytes: of all files.

    Raises:
        ApiError: 404, nothing of it is there; 413, more bytes than are allowed.
    """
    if form == "zip":
        return _files(index, ids, most_bytes)
    hits = index.get(ids)
    if not hits:
        raise ApiError(404, "none of these items is in the index", param="ids", code="no_such_item")
    table = hits.to_arrow().drop_columns(["score"])
    if form == "json":
        return Export(to_json(table.to_pylist()), "application/json", len(hits))
    import pyarrow.csv as csv

    text = io.BytesIO()
    csv.write_csv(table, text)
    return Export(text.getvalue(), "text/csv", len(hits))


def _files(index: "Index", ids: Sequence[str], most_bytes: int) -> Export:
    from llave.search.trust import Withheld, file_of
    from llave.storage.client import StorageError

    rows, allowed = index.store.get(ids), index.given_out()
    files: dict[Path, str] = {}
    names: set[str] = set()
    left_out: list[str] = []
    size = 0
    for row in (rows[row_id] for row_id in dict.fromkeys(ids) if row_id in rows):
        try:
            path, why = file_of(row, allowed), "has no file, or it is not where it was"
        except Withheld:
            path, why = None, "files of its source are not given out"
        except StorageError as error:
            path, why = None, str(error)
        if path is None:
            left_out.append(f"{row.path or row.key}: {why}")
        elif path not in files:  # as the pages of a document
            files[path] = _fresh(_inside(row), names)
            size += path.stat().st_size
        if size > most_bytes:
            raise ApiError(413, f"files of more than {most_bytes:,} bytes; choose fewer items", param="ids")
    if not files:
        raise ApiError(404, "none of these items has a file that is given out", param="ids", code="no_such_item")
    return Export(_zipped(files, left_out), "application/zip", len(files), len(left_out))


def _inside(row: "Row") -> str:
    """A name in the archive that stays in the folder where it is unpacked: an index may be anybody's."""
    parts = PurePosixPath(row.file.replace("\\", "/").partition("#page=")[0]).parts
    return "/".join(part.replace(":", "_") for part in parts if part not in ("/", "..", ".")) or row.id


def _fresh(name: str, taken: set[str]) -> str:
    """The name, or with a number where it is taken: two sources may have files of one name."""
    path, number = PurePosixPath(name), 1
    while name.casefold() in taken or name == LEFT_OUT:
        number += 1
        name = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
    taken.add(name.casefold())
    return name


def _zipped(files: dict[Path, str], left_out: list[str]) -> Iterator[bytes]:
    """Stored as they are: pictures, sounds and films are small already."""
    out = _Outlet()
    missing = list(left_out)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for path, name in files.items():
            try:
                with path.open("rb") as source:
                    about = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
                    with archive.open(about, "w", force_zip64=True) as target:
                        while piece := source.read(PIECE):
                            target.write(piece)
                            yield out.taken()
            except OSError:
                missing.append(f"{name}: cannot be read any more")
        if missing:
            archive.writestr(LEFT_OUT, "\n".join(missing) + "\n")
    yield out.taken()


class _Outlet(io.RawIOBase):
    """Where an archive is written to and its bytes are taken from; one cannot go back in it."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        self._pieces.append(bytes(piece))
        return len(piece)

    def taken(self) -> bytes:
        """What was written since the last time."""
        found = b"".join(self._pieces)
        self._pieces.clear()
        return found
