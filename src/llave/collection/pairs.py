"""Training pairs from tar archives (WebDataset): tables of texts and of where their pictures lie, which stay in the
archives.

    OUT/train/NAME_t2i.parquet   a text, and its picture as the target
    OUT/train/NAME_i2t.parquet   the other way round
    OUT/errors.jsonl             items that could not be read, and why
    OUT/archives/                what was found in each archive, so that the same command goes on after a kill

An archive is read once, from its start to its end, and is not kept; a row takes some 200 bytes.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llave.collection.entry import BadEntry, state_of
from llave.collection.tar import TarCollection, tar_files
from llave.data.mmeb import IMAGE_PLACEHOLDER
from llave.errors import UserError
from llave.files import whole_file, write_jsonl
from llave.progress import show_progress
from llave.storage.location import Location, location

__all__ = ["Pairs", "write_pairs"]

FOUND = pa.schema([(name, pa.string()) for name in ("key", "text", "image", "error")])
TRAIN = pa.schema([(name, pa.string()) for name in ("qry", "qry_image_path", "pos_text", "pos_image_path")])
BATCH_ROWS = 8192


@dataclass(frozen=True, slots=True)
class Pairs:
    """What was found.

    Args:
        images: the folder of the archives, for ``llave train --images``.
        archives: that there are.
        pairs: of a picture and a text.
        left_out: items without one of them, or with a film in place of the picture.
        errors: items that could not be read.
    """

    images: str
    archives: int
    pairs: int
    left_out: int
    errors: int


def write_pairs(path: str | Location, out: Path, *, name: str = "pairs", progress: bool = True) -> Pairs:
    """List the pairs of some archives. Killed, the same call goes on with the archive where it was.

    Args:
        path: of an archive, or a glob of them; of this machine or in object storage.
        out: a data folder.
        name: of the data sets.

    Raises:
        UserError: no such archive, or no pair in any of them.
        StorageError: object storage cannot be reached.
    """
    files = tar_files(location(path))
    if not files:
        raise UserError(f"{path}: not a .tar archive, nor a pattern of some ('…/part-*.tar')")
    collection = TarCollection(files, sounds=False)
    kept = out / "archives"
    kept.mkdir(parents=True, exist_ok=True)
    parts = list(collection.parts(1))
    tables = []
    with show_progress(progress) as work:
        work.stage("archives", len(parts), unit="archives")
        for part in parts:
            archive = location(collection.address) / part["tar"]
            table = kept / f"{hashlib.sha256(state_of([(part['tar'], archive)]).encode()).hexdigest()[:32]}.parquet"
            is_new = not table.is_file()
            if is_new:
                _list(collection, part, table)
            tables.append(table)
            work.advance(1, worked=int(is_new))
    for stale in set(kept.glob("*.parquet")) - set(tables):
        stale.unlink()
    (out / "train").mkdir(exist_ok=True)
    counts = _write_tables(tables, out, name)
    if not counts["pairs"]:
        raise UserError(
            f"{path}: no picture with a text in any of {len(parts):,} archives (see {out / 'errors.jsonl'})"
        )
    return Pairs(images=collection.address, archives=len(parts), **counts)


def _list(collection: TarCollection, part: dict[str, Any], table: Path) -> None:
    """What is in an archive: a row an item."""
    with whole_file(table) as partial, pq.ParquetWriter(partial, FOUND) as writer:
        rows: list[dict[str, str]] = []
        for entry, image in collection.places(part):
            if isinstance(entry, BadEntry):
                rows.append({"key": entry.key, "error": entry.message})
            else:
                rows.append({"key": entry.key, "text": entry.item.text, "image": image})
            if len(rows) == BATCH_ROWS:
                writer.write_table(pa.Table.from_pylist(rows, FOUND))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, FOUND))


def _write_tables(tables: list[Path], out: Path, name: str) -> dict[str, int]:
    counts = {"pairs": 0, "left_out": 0, "errors": 0}

    def errors() -> Iterator[dict[str, str]]:
        for table in tables:
            for row in pq.read_table(table, columns=["key", "error"], filters=[("error", "!=", "")]).to_pylist():
                counts["errors"] += 1
                yield row

    write_jsonl(out / "errors.jsonl", errors())
    with (
        whole_file(out / "train" / f"{name}_t2i.parquet") as to_pictures,
        whole_file(out / "train" / f"{name}_i2t.parquet") as to_texts,
        pq.ParquetWriter(to_pictures, TRAIN) as t2i,
        pq.ParquetWriter(to_texts, TRAIN) as i2t,
    ):
        for table in tables:
            for batch in pq.ParquetFile(table).iter_batches(BATCH_ROWS, columns=["text", "image", "error"]):
                rows = [row for row in batch.to_pylist() if row["error"] is None]
                pairs = [(row["text"], row["image"]) for row in rows if row["text"] and row["image"]]
                counts["pairs"] += len(pairs)
                counts["left_out"] += len(rows) - len(pairs)
                texts, images = [list(column) for column in zip(*pairs, strict=True)] or [[], []]
                none, shown = [""] * len(pairs), [IMAGE_PLACEHOLDER] * len(pairs)
                t2i.write_table(pa.table([texts, none, shown, images], schema=TRAIN))
                i2t.write_table(pa.table([shown, images, texts, none], schema=TRAIN))
    return counts
