"""Content ids of training rows: the same text and the same picture are one, wherever the file is and whatever its name.

    ids.npy         (N, 3) int64: query, positive and hard negative (0 without one)
    pictures.arrow  of every picture: path, size and time of its file, SHA-256 of its content

Every picture file is read once. When a run begins again, only files whose size or time has changed are.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llave.data.identity import content_digest
from llave.data.mmeb import ALL_COLUMNS, strip_placeholder
from llave.data.training_pictures import Identities
from llave.files import whole_file
from llave.storage.location import Location

__all__ = ["OWN_SPACE", "content_id", "identify"]

OWN_SPACE = 1 << 61
"""Flipped in the id of a query whose data set takes no target for the query itself: such ids equal no target's."""
READERS = 8
AT_ONCE = 8192
SCHEMA = pa.schema(
    [("path", pa.string()), ("size", pa.int64()), ("time", pa.int64()), ("digest", pa.binary(32))],
)
T = TypeVar("T")


def content_id(text: str, media: bytes = b"") -> int:
    """A 63-bit id of a text as the model meets it, and of a picture's SHA-256."""
    return int.from_bytes(content_digest(strip_placeholder(text), media)[:8], "big") >> 1


def identify(folder: Path, where: Callable[[str], Location], of: Identities) -> None:
    """Write ``ids.npy`` for the ``rows.arrow`` in a folder, or again if pictures have changed.

    Args:
        where: a picture's place, by its path in the rows.
        of: the pictures.
    """
    rows = pa.ipc.open_file(pa.memory_map(str(folder / "rows.arrow")))
    batches = [rows.get_batch(number) for number in range(rows.num_record_batches)]
    known = _known(folder / "pictures.arrow")
    paths = list(known) if known is not None else _paths(batches)
    with ThreadPoolExecutor(READERS) as pool:
        stamps = _mapped(pool, lambda path: of.stamp(where(path)), paths)
        media = {
            path: known[path][1]
            for path, now in zip(paths, stamps, strict=True)
            if known is not None and known[path][0] == now
        }
        if known is not None and len(media) == len(paths):
            return
        changed = [path for path in paths if path not in media]
        media |= zip(changed, _mapped(pool, lambda path: of.digest(where(path)), changed), strict=True)
    _save(folder / "ids.npy", lambda file: np.save(file, _ids(batches, media)))
    digests = [media[path] for path in paths]
    table = pa.table([paths, [size for size, _ in stamps], [time for _, time in stamps], digests], schema=SCHEMA)
    _save(folder / "pictures.arrow", lambda file: _write(table, file))  # last: it says that the ids are whole


def _paths(batches: Sequence[Any]) -> list[str]:
    """Of all pictures, each once."""
    found = [pa.array([], pa.string()), *(pc.unique(batch.column(column)) for batch in batches for column in (1, 3, 5))]
    return [path for path in pc.unique(pa.chunked_array(found)).to_pylist() if path]


def _ids(batches: Sequence[Any], media: dict[str, bytes]) -> Any:
    ids = np.zeros((sum(len(batch) for batch in batches), len(ALL_COLUMNS) // 2), np.int64)
    row = 0
    for batch in batches:
        columns = [column.to_pylist() for column in batch.columns]
        for place in range(ids.shape[1]):
            pairs = zip(columns[2 * place], columns[2 * place + 1], strict=True)
            negative = place == 2
            ids[row : row + len(batch), place] = [
                0 if negative and not (text or path) else content_id(text, media[path] if path else b"")
                for text, path in pairs
            ]
        row += len(batch)
    return ids


def _mapped(pool: ThreadPoolExecutor, work: Callable[[str], T], paths: Sequence[str]) -> list[T]:
    """In order, a piece of the paths at a time: each that waits takes memory."""
    pieces = (paths[start : start + AT_ONCE] for start in range(0, len(paths), AT_ONCE))
    return [result for piece in pieces for result in pool.map(work, piece)]


def _known(path: Path) -> dict[str, tuple[tuple[int, int], bytes]] | None:
    """(stamp, digest) by path, of the time before."""
    if not path.is_file():
        return None
    with pa.OSFile(str(path)) as file:
        columns = pa.ipc.open_file(file).read_all().to_pydict()
    stamps = zip(columns["size"], columns["time"], strict=True)
    return dict(zip(columns["path"], zip(stamps, columns["digest"], strict=True), strict=True))


def _write(table: Any, file: Any) -> None:
    with pa.ipc.new_file(file, SCHEMA) as writer:
        writer.write_table(table)


def _save(path: Path, write: Callable[[Any], None]) -> None:
    with whole_file(path) as partial, partial.open("wb") as file:
        write(file)
