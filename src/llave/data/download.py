"""Fetch MMEB-train from the hub, or from a copy of it: only what is wanted, checked, unpacked, safe to repeat."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow.compute as pc
from rich.console import Console

from llave.data.hub import DONE, Done, Files, fetch_checked
from llave.data.mmeb_train import REPOSITORY, TASKS, check_subsets
from llave.data.sources import find_source
from llave.data.train_table import TrainTable, open_table
from llave.data.unzip import unpack
from llave.errors import UserError

__all__ = ["Subset", "download_mmeb_train"]


@dataclass(frozen=True, slots=True)
class Subset:
    """A data set as it is on disk now: its rows, the pictures they name, and how many of those are missing."""

    name: str
    rows: int
    pictures: int
    missing: int


def download_mmeb_train(
    out: Path, files: Files, *, subsets: Sequence[str] = (), split: str = "original", console: Console | None = None
) -> list[Subset]:
    """Tables and pictures of some data sets, in the hub's own layout, ready for ``data: OUT`` in a recipe.

    Args:
        out: folder to make or to complete.
        files: the hub, or a copy.
        subsets: names; empty is all 20.
        split: ``original`` or ``diverse_instruction`` (ten paraphrases of each instruction).

    Raises:
        UserError: an unknown name, no network, or a file that is not what the hub states.
    """
    console = console or Console(stderr=True)
    names = check_subsets(subsets) or [task.name for task in TASKS]
    out.mkdir(parents=True, exist_ok=True)
    done = Done(out / DONE)
    found = []
    for name in names:
        tables = sorted(path for path in files.listing if PurePosixPath(path).match(f"{name}/{split}-*.parquet"))
        if not tables:
            raise UserError(f"{REPOSITORY} has no {name}/{split}-*.parquet here")
        for path in tables:
            fetch_checked(files, path, out, done)
        table = open_table(find_source(out, name, split=split))
        for archive in _archives(table):
            if archive not in files.listing:
                raise UserError(f"{name}: its pictures should be in {archive}, which is not in {REPOSITORY} here")
            expected = files.listing[archive]
            if not done.has(f"unpacked {archive}", expected):
                console.print(f"{name}: {archive} ({(expected.size or 0) / 1e9:.2f} GB)")
                unpack(fetch_checked(files, archive, out, done), out / "images")
                done.add(f"unpacked {archive}", expected)
        found.append(_look(table))
        if found[-1].missing and found[-1].missing == found[-1].pictures:
            raise UserError(f"{name}: none of its pictures is where its rows say, e.g. {_example(table)}")
    return found


def _archives(table: TrainTable) -> list[str]:
    """The zip files that a table's pictures come from: ``images/FOLDER/…`` is in ``images_zip/FOLDER.zip``."""
    paths = table.unique_pictures()
    folders = pc.unique(pc.list_element(pc.split_pattern(paths, "/", max_splits=2), 1)) if len(paths) else paths
    return [f"images_zip/{folder}.zip" for folder in sorted(folders.to_pylist())]


def _look(table: TrainTable) -> Subset:
    paths = table.unique_pictures()
    missing = sum(not (table.root / path.as_py()).is_file() for path in paths)
    return Subset(table.name, len(table), len(paths), missing)


def _example(table: TrainTable) -> Path:
    return table.root / str(table.unique_pictures()[0].as_py())
