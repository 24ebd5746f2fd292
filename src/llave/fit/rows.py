"""The rows of a table, or of a folder of labels, that a model can be made of; of every other one the reason."""

import os
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from llave.collection.entry import BadEntry, state_of
from llave.collection.folder import FolderCollection
from llave.data.cache import cache_directory
from llave.data.door import reason_of
from llave.data.images import load_image
from llave.data.inline import inline_bytes, kept_file
from llave.data.mmeb import RowItem
from llave.data.pages import split_page
from llave.data.row_ids import content_id
from llave.data.tables import as_text, is_table, quoted, read_table
from llave.data.training_pictures import picture_digest
from llave.errors import DataError, UserError
from llave.fit.columns import PAIR, Asked, Chosen, Side, choose_columns
from llave.progress import Work, show_progress

__all__ = ["FIRST_ROWS", "FitRow", "LeftOut", "Rows", "is_kept", "picture_folder", "read_rows", "source_state"]

FIRST_ROWS = 100
"""Are read to learn the columns."""
READERS = 4
SPLITS = {"train", "test", "val", "valid", "validation", "eval"}


@dataclass(frozen=True, slots=True)
class FitRow:
    """A row: what is asked, what belongs to it, and what does not, if the table says; pictures by absolute paths.

    Args:
        where: it stands, for people: ``row 12`` from 1, or a file.
    """

    where: str
    query: RowItem
    positive: RowItem
    negative: RowItem | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that is not used, and why: a group of reasons and the reason itself."""

    where: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rows:
    """What was read.

    Args:
        root: the folder that all pictures are below; None if there is none, or all are in the table itself.
        read: rows of the table, or files of the folder.
        digests: SHA-256 by the picture of each row item that has one.
    """

    chosen: Chosen
    root: Path | None
    rows: list[FitRow]
    left_out: list[LeftOut]
    read: int
    digests: Mapping[str, bytes] = field(default_factory=dict)

    def key(self, item: RowItem) -> int:
        """Equal for items of equal content, whatever their file is called. A text beside a picture does not count:
        it is often an instruction that many rows share."""
        return content_id("" if item.image else item.text, self.digests.get(item.image, b""))

    def same(self, item: RowItem) -> Hashable:
        """Equal for items that are the same, the text beside a picture included."""
        return self.key(item), item.text if item.image else ""


def source_state(source: Path) -> str:
    """A hash that tells whether a table, or a file of a folder, has changed.

    Raises:
        UserError: neither a table nor a folder.
    """
    if source.is_dir():
        return FolderCollection(source, sounds=False).state()
    if not source.exists():
        raise UserError(f"{source}: no such folder or file")
    if not is_table(source):
        raise UserError(f"{source}: neither a folder of labels nor a table (.csv, .tsv, .jsonl, .json, .parquet)")
    return state_of([(source.name, source)])


def read_rows(source: Path, asked: Asked, images: Path | None = None, *, progress: bool = True) -> Rows:
    """Every row that can be used: its pictures open, its texts are not empty, and it is not there before.

    Args:
        source: a table, or a folder whose folders are labels.
        images: that the paths of pictures are relative to; None is the table's folder, or its ``images``.

    Raises:
        UserError: no guess of the columns, or nothing that can be used.
    """
    if source.is_dir():
        if asked != Asked():
            raise UserError(f"{source}: a folder has no columns; its folders are the labels")
        chosen = Chosen(kind="classes", query=Side(picture="files"), positive=Side(text="names of folders"))
        found = _of_folder(source)
    else:
        first = [row for row in islice(read_table(source), FIRST_ROWS) if isinstance(row, dict)]
        if not first:
            raise UserError(f"{source}: no rows")
        chosen = choose_columns(source, first, asked)
        found = _of_table(source, chosen, images or picture_folder(source, chosen, first))
    rows: list[FitRow] = []
    left_out: list[LeftOut] = []
    read = 0
    with show_progress(progress) as work:
        work.stage("read", unit="rows")
        for found_row in found:
            read += 1
            if isinstance(found_row, LeftOut):
                left_out.append(found_row)
            else:
                rows.append(found_row)
            work.advance(1)
        digests, broken = _pictures(rows, work)
    usable: list[FitRow] = []
    for row in rows:
        reason = next((broken[item.image] for item in _items(row) if item.image in broken), None)
        if reason is None:
            usable.append(row)
        else:
            left_out.append(LeftOut(row.where, "a picture that cannot be opened", reason))
    root = _common_folder(item.image for row in usable for item in _items(row) if item.image)
    result = Rows(chosen, root, usable, left_out, read, digests)
    _drop_repeated(result)
    if not result.rows:
        first_reason = left_out[0].reason if left_out else "it is empty"
        more = "" if source.is_dir() else "; --images names the folder of the pictures"
        raise UserError(f"{source}: no usable row ({chosen}); the first problem: {first_reason}{more}")
    return result


def _items(row: FitRow) -> list[RowItem]:
    return [item for item in (row.query, row.positive, row.negative) if item is not None]


def _drop_repeated(rows: Rows) -> None:
    """Leave out what is there before, and what is its own positive."""
    seen: dict[Hashable, str] = {}
    kept = []
    for row in rows.rows:
        keys = tuple(map(rows.same, _items(row)))
        if keys[0] == keys[1]:
            rows.left_out.append(LeftOut(row.where, "both sides are the same", "both sides are the same"))
        elif keys in seen:
            rows.left_out.append(LeftOut(row.where, "duplicates", f"the same content as {seen[keys]}"))
        else:
            seen[keys] = row.where
            kept.append(row)
    rows.rows[:] = kept


def _pictures(rows: list[FitRow], work: Work) -> tuple[dict[str, bytes], dict[str, str]]:
    """By path of each picture: the hash of its content, and why it does not open if it does not."""
    names = list(dict.fromkeys(item.image for row in rows for item in _items(row) if item.image))
    digests: dict[str, bytes] = {}
    broken: dict[str, str] = {}
    work.stage("open pictures", len(names), unit="pictures")
    with ThreadPoolExecutor(READERS) as pool:
        for name, (digest, reason) in zip(names, pool.map(_opened, names), strict=True):
            digests[name] = digest
            if reason is not None:
                broken[name] = reason
            work.advance(1)
    return digests, broken


def _opened(name: str) -> tuple[bytes, str | None]:
    try:
        load_image(Path(name))
    except Exception as error:  # whatever a decoder raises for one picture
        return b"", reason_of(error)
    return picture_digest(Path(name)), None


def _of_folder(root: Path) -> Iterator[FitRow | LeftOut]:
    """A row of each file below a folder that is a label."""
    labels = [path.name for path in sorted(root.iterdir()) if path.is_dir() and path.name[0] != "."]
    if len(labels) < 2:
        raise UserError(f"{root}: a folder of labels has two folders or more, whose names are the labels")
    if {label.lower() for label in labels} <= SPLITS:
        raise UserError(f"{root}: {', '.join(labels)} are parts, not labels; name one: {root / labels[0]}")
    collection = FolderCollection(root, sounds=False)
    for entry in collection:
        if isinstance(entry, BadEntry):
            yield LeftOut(entry.key, "a file that cannot be read", entry.message)
            continue
        label, _, below = entry.key.partition("/")
        if not below:
            yield LeftOut(entry.key, "in no folder of a label", "in no folder of a label")
        elif entry.item.modality not in ("image", "text"):
            yield LeftOut(entry.key, "films", "a film; a model is made of pictures and texts")
        else:
            image = "" if entry.item.image is None else os.path.abspath(str(entry.item.image))
            text = "" if image else entry.item.text  # what metadata says of a picture is not what it shows
            yield FitRow(entry.key, RowItem(text, image), RowItem(label))
    for what, number in collection.left_out.items():
        yield from (LeftOut(str(root), what, what) for _ in range(number))


def _of_table(path: Path, chosen: Chosen, root: Path) -> Iterator[FitRow | LeftOut]:
    for number, row in enumerate(read_table(path), start=1):
        where = f"row {number}"
        try:
            if isinstance(row, DataError):
                raise row
            if not isinstance(row, dict):
                raise DataError("not an object with columns")
            if chosen.pairs_are_1 and str(row[chosen.pairs_are_1]).lower() not in PAIR:
                yield LeftOut(where, f"`{chosen.pairs_are_1}` is not 1", "no pair")
                continue
            query, positive = _item(row, chosen.query, root), _item(row, chosen.positive, root)
            negative = None
            if chosen.negative is not None and any(row.get(name) for name in chosen.negative.columns):
                negative = _item(row, chosen.negative, root)
            yield FitRow(where, query, positive, negative)
        except _Empty as error:
            yield LeftOut(where, "an empty cell", str(error))
        except Exception as error:  # of one row, whatever is in it
            yield LeftOut(where, "a row that cannot be read", reason_of(error))


class _Empty(DataError):
    """A row without what its columns promise."""


def _item(row: Mapping[str, Any], side: Side, root: Path) -> RowItem:
    text = as_text(row.get(side.text)).strip() if side.text is not None else ""
    image = _picture(row.get(side.picture), root) if side.picture is not None else ""
    if not text and not image:
        raise _Empty(f"nothing in {' or '.join(f'`{name}`' for name in side.columns)}")
    return RowItem(text, image)


def _picture(value: Any, root: Path) -> str:
    """The absolute path of a cell's picture; one in the table itself is kept as a file."""
    if isinstance(value, Mapping):  # Hugging Face's Image
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str):
        value = inline_bytes(value) or value
    if value is None or value != value or value == "":
        return ""
    if isinstance(value, bytes):
        return os.path.abspath(kept_file(value))
    if not isinstance(value, str):
        raise DataError(f"{quoted(value)} is no path")
    if "://" in value[:20]:
        raise DataError(f"{value[:80]}: an address; nothing is fetched, download it first")
    return os.path.abspath(root / value)


def is_kept(image: str) -> bool:
    """Whether a picture was in a table itself, see :func:`llave.data.inline.kept_file`."""
    return Path(image).is_relative_to(os.path.abspath(cache_directory()))


def _common_folder(images: Iterable[str]) -> Path | None:
    folders = {os.path.dirname(image) for image in images if not is_kept(image)}
    return Path(os.path.commonpath(folders)) if folders else None


def picture_folder(path: Path, chosen: Chosen, rows: list[dict[str, Any]]) -> Path:
    """Where the first pictures are: beside the table, in ``images`` there, or in ``images`` beside its folder."""
    names = [side.picture for side in (chosen.query, chosen.positive) if side.picture is not None]
    values = [value for name in names for row in rows if isinstance(value := row.get(name), str) and len(value) < 1024]
    folders = (path.parent, path.parent / "images", path.parent.parent / "images")
    found = Counter({folder: sum(_is_file(folder / value) for value in values) for folder in folders})
    return max(folders, key=lambda folder: found[folder])


def _is_file(path: Path) -> bool:
    try:
        return split_page(path)[0].is_file()
    except (OSError, ValueError):  # base64 is no name
        return False
