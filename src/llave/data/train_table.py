"""A data set's training rows, memory-mapped: row i when it is asked for."""

import bisect
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from llave.data.archived import archived
from llave.data.mmeb import ALL_COLUMNS, RowItem, TrainRow
from llave.data.row_store import BATCH_ROWS, EMBEDDED, About, picture_file, stored
from llave.data.sources import Source
from llave.data.training_pictures import load_picture
from llave.errors import DataError, UserError
from llave.storage.client import StorageError
from llave.storage.location import Location, ObjectPath, location

__all__ = ["PictureList", "Skipped", "TrainTable", "open_table", "pictures_of"]

PICTURE_COLUMNS = ("qry_image_path", "pos_image_path", "neg_image_path")
DECODERS = 4
IN_FLIGHT = 256  # pictures being verified at a time


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that training leaves out, and why."""

    file: str
    row: int
    reason: str


class TrainTable(Sequence[TrainRow]):
    """Rows of one data set. Small to pickle and to fork: it is a path and, where rows are left out, their numbers.

    Args:
        source: where the rows come from.
        folder: the store that holds them (:mod:`llave.data.row_store`).
        about: what the store holds.
        chosen: row numbers over all files that this table shows, sorted; None shows all.
    """

    def __init__(self, source: Source, folder: Path, about: About, chosen: NDArray[np.int64] | None = None) -> None:
        self.source = source
        self.folder = folder
        self.about = about
        self.chosen = chosen
        self._ends = list(itertools.accumulate(number for _, number in about.files))
        self._open()

    def _open(self) -> None:
        file = pa.ipc.open_file(pa.memory_map(str(self.folder / "rows.arrow")))
        self._batches = [file.get_batch(number) for number in range(file.num_record_batches)]
        self._ids: NDArray[np.int64] = np.load(self.folder / "ids.npy", mmap_mode="r")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_batches", "_ids")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    @property
    def name(self) -> str:
        """Of the data set."""
        return self.source.name

    @property
    def root(self) -> Path:
        """The folder that picture paths are relative to: pictures of tables with the same root are the same.

        Raises:
            UserError: it is in a bucket, where only a training step looks.
        """
        return _here(self.source.images)

    def __len__(self) -> int:
        return self.about.rows if self.chosen is None else len(self.chosen)

    def __getitem__(self, index: Any) -> Any:
        """Row ``index``, from 0 to ``len - 1``."""
        number = self.number(index)
        batch, place = self._batches[number // BATCH_ROWS], number % BATCH_ROWS
        values = [batch.column(column)[place].as_py() for column in range(len(ALL_COLUMNS))]
        query, positive, negative = (RowItem(*values[start : start + 2]) for start in (0, 2, 4))
        return TrainRow(query, positive, negative if negative.text or negative.image else None)

    def __iter__(self) -> Iterator[TrainRow]:
        return (self[index] for index in range(len(self)))

    def number(self, index: int) -> int:
        """The number of row ``index`` over all files."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} rows, no row {index}")
        return index if self.chosen is None else int(self.chosen[index])

    def where(self, index: int) -> tuple[str, int]:
        """File, and row in it, of row ``index``."""
        return self._place(self.number(index))

    def image(self, item: RowItem) -> Path | None:
        """The picture of an item, a file of this machine, or None.

        Raises:
            UserError: as :attr:`root`.
        """
        found = self.picture(item)
        return None if found is None else _here(found)

    def picture(self, item: RowItem) -> Location | None:
        """The picture of an item, wherever it is, or None."""
        return picture_file(item.image, self.source.images, self.folder) if item.image else None

    def video(self, item: RowItem) -> Path | None:
        """None: training rows hold no videos."""
        return None

    def audio(self, item: RowItem) -> Path | None:
        """None: training rows hold no sounds."""
        return None

    def ids(self) -> NDArray[np.int64]:
        """Content ids of query and positive of every row, (N, 2)."""
        ids = self._ids[:, :2]
        return ids if self.chosen is None else ids[self.chosen]

    def row_ids(self, index: int) -> tuple[int, int, int]:
        """Content ids of query, positive and hard negative (0 without one) of row ``index``."""
        query, positive, negative = self._ids[self.number(index)].tolist()
        return query, positive, negative

    def usable(
        self, *, cap: int | None = None, seed: int = 0, verify_pictures: bool = False
    ) -> tuple["TrainTable", list[Skipped]]:
        """The rows that training can use, and those left out.

        Args:
            cap: at most this many rows, drawn by ``seed``; the others are not looked at.
            verify_pictures: decode every picture once, so that a broken one costs its rows now.

        Raises:
            DataError: no usable row.
        """
        numbers = np.arange(len(self), dtype=np.int64) if self.chosen is None else self.chosen
        if cap is not None and cap < len(numbers):
            drawn = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(seed))[:cap]
            numbers = numbers[np.sort(drawn.numpy())]
        reasons = dict(self.about.bad)
        drop = np.isin(numbers, np.fromiter(reasons, np.int64))
        broken = self._broken_pictures(numbers[~drop]) if verify_pictures else {}
        if broken:
            for number, reason in self._rows_with(broken, numbers[~drop]):
                reasons.setdefault(number, reason)
            drop = np.isin(numbers, np.fromiter(reasons, np.int64))
        skipped = [Skipped(*self._place(int(number)), reasons[int(number)]) for number in numbers[drop]]
        if drop.all():
            first = skipped[0].reason if skipped else "it is empty"
            raise DataError(f"{self.source.files[0]}: no usable row; the first problem: {first}")
        kept = numbers[~drop]
        return TrainTable(self.source, self.folder, self.about, None if len(kept) == self.about.rows else kept), skipped

    def some(self, indices: NDArray[np.int64]) -> "TrainTable":
        """The rows of these sorted indices."""
        numbers = indices if self.chosen is None else self.chosen[indices]
        return TrainTable(self.source, self.folder, self.about, numbers.astype(np.int64))

    def unique_pictures(self, columns: Sequence[str] = PICTURE_COLUMNS) -> Any:
        """Paths of the pictures in these columns, each once, in order of first appearance, as an Arrow array."""
        numbers = np.arange(self.about.rows) if self.chosen is None else self.chosen
        return self._unique(numbers, columns)

    def _place(self, number: int) -> tuple[str, int]:
        file = bisect.bisect_right(self._ends, number)
        return self.about.files[file][0], number - (self._ends[file - 1] if file else 0)

    def _chunks(self, numbers: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Any]]:
        """(numbers, rows) of each record batch that has some of these sorted numbers."""
        edges = np.searchsorted(numbers, np.arange(len(self._batches) + 1) * BATCH_ROWS)
        for batch, start, end in zip(self._batches, edges[:-1], edges[1:], strict=True):
            if end > start:
                part = numbers[start:end]
                yield part, batch if len(part) == len(batch) else batch.take(pa.array(part % BATCH_ROWS))

    def _unique(self, numbers: NDArray[np.int64], columns: Sequence[str]) -> Any:
        found = [pa.array([], pa.string())]
        for _, rows in self._chunks(numbers):
            found += [pc.unique(rows.column(column)) for column in columns]
        paths = pc.unique(pa.chunked_array(found))
        return paths.filter(pc.not_equal(paths, ""))

    def _broken_pictures(self, numbers: NDArray[np.int64]) -> dict[str, str]:
        """Why, by path, of every picture that does not open."""
        paths = self._unique(numbers, PICTURE_COLUMNS)
        broken: dict[str, str] = {}
        with ThreadPoolExecutor(DECODERS) as pool:
            for start in range(0, len(paths), IN_FLIGHT):
                chunk = paths[start : start + IN_FLIGHT].to_pylist()
                found = zip(chunk, pool.map(self._problem, chunk), strict=True)
                broken |= {path: reason for path, reason in found if reason is not None}
        return broken

    def _problem(self, path: str) -> str | None:
        picture = self.picture(RowItem(image=path))
        assert picture is not None, "only paths are asked for"
        try:
            load_picture(picture)
        except StorageError:
            raise
        except Exception as error:  # whatever a decoder raises for one picture
            return str(error)
        return None

    def _rows_with(self, broken: dict[str, str], numbers: NDArray[np.int64]) -> Iterator[tuple[int, str]]:
        """(number, reason) of rows that show a broken picture; the query's reason before the positive's."""
        bad = pa.array(list(broken))
        for part, rows in self._chunks(numbers):
            for column in PICTURE_COLUMNS:
                paths = rows.column(column)
                hit = pc.is_in(paths, value_set=bad)
                yield from (
                    (int(number), broken[path])
                    for number, path in zip(
                        part[hit.to_numpy(zero_copy_only=False)], paths.filter(hit).to_pylist(), strict=True
                    )
                )


def _here(place: Location) -> Path:
    if isinstance(place, ObjectPath) or archived(place) is not None:
        kind = "a bucket" if isinstance(place, ObjectPath) else "archives"
        raise UserError(
            f"{place}: pictures in {kind} are read by training alone; for a teacher, clusters, mining or rows that "
            "are held out, let images be a folder of this machine"
        )
    return place


def open_table(source: Source, *, cache: Path | None = None, progress: bool = True) -> TrainTable:
    """All rows of a source.

    Raises:
        DataError: an unreadable file, or a missing column.
    """
    return TrainTable(source, *stored(source, cache=cache, progress=progress))


class PictureList(Sequence[Location]):
    """Pictures as an Arrow array: a path becomes an object when it is asked for."""

    def __init__(self, paths: Any) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        return location(self._paths[index].as_py())


def pictures_of(tables: Sequence[TrainTable], columns: Sequence[str] = PICTURE_COLUMNS[:2]) -> PictureList:
    """The pictures of several tables, each file once, sorted as paths sort: part by part."""
    found = [pa.array([], pa.string())]
    for table in tables:
        paths = table.unique_pictures(columns)
        for embedded in (False, True):
            some = paths.filter(pc.equal(pc.starts_with(paths, EMBEDDED), embedded))
            root = table.folder / "pictures" if embedded else table.source.images
            relative = pc.replace_substring_regex(some, f"^{EMBEDDED}", "") if embedded else some
            found.append(pc.binary_join_element_wise(str(root), relative, "/"))
    paths = pc.unique(pa.chunked_array(found).combine_chunks())
    order = pc.sort_indices(pc.replace_substring(paths, "/", "\0"))
    return PictureList(paths.take(order))
