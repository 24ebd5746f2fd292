"""Where the training rows of a data set come from: which files, which picture folder, which columns.

A data folder is one of
- ours: ``train/NAME.parquet`` (or .json, .jsonl, .csv, .tsv) and ``images/``;
- a copy of the hub's MMEB-train (see :mod:`llave.data.mmeb_train`);
- anything, where the recipe names each data set's ``file``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llave.data.mmeb_train import SPLITS, suggestion
from llave.data.tables import TABLE_SUFFIXES, is_table, named_tables
from llave.errors import DataError
from llave.storage.location import Location, is_address, location

__all__ = ["Source", "find_source", "source_names"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A data set's training rows.

    Args:
        name: of the data set.
        files: in the order of their rows.
        images: the folder that picture paths are relative to.
        columns: our column -> the file's; empty where the file has ours.
    """

    name: str
    files: tuple[Path, ...]
    images: Location
    columns: Mapping[str, str] = field(default_factory=dict)


def source_names(root: Path, split: str = SPLITS[0]) -> list[str]:
    """The training data sets that a folder holds, sorted."""
    return sorted({name for name, _ in _laid_out(root, split)})


def find_source(
    root: Path,
    name: str,
    *,
    file: str | None = None,
    images: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    split: str = SPLITS[0],
) -> Source:
    """The source of a data set.

    Args:
        root: the data folder.
        file: a table, a folder of tables or a glob, relative to ``root``; None looks in the folder's layout.
        images: relative to ``root``, or ``s3://bucket/folder``; None is ``root/images``, or ``root`` for a copy of
            MMEB-train.
        columns: our column -> the file's.
        split: for a copy of MMEB-train.

    Raises:
        DataError: no such data set or file.
    """
    if file is not None:
        files = _named(root, name, file)
        folder = _within(root, images or "images")
    else:
        if split != SPLITS[0] and (root / "train").is_dir():
            raise DataError(
                f"{name}: split {split} is of a copy of MMEB-train, and {root} has its tables in train/; name the "
                "table with file"
            )
        files = [path for other, path in _laid_out(root, split) if other == name]
        if not files:
            known = source_names(root, split)
            raise DataError(
                f"no data set {name} in {root / 'train' if (root / 'train').is_dir() else root}"
                f"{suggestion(name, known)}; there are: {', '.join(known) or 'none'}"
            )
        folder = _within(root, images) if images else root / "images" if (root / "train").is_dir() else root
    return Source(name=name, files=tuple(files), images=folder, columns=dict(columns or {}))


def _within(root: Path, images: str | Path) -> Location:
    return location(images) if is_address(images) else root / images


def _laid_out(root: Path, split: str) -> Iterator[tuple[str, Path]]:
    """(data set, file) of every table that the layout shows."""
    if (root / "train").is_dir():
        yield from named_tables(root / "train").items()
    else:
        for path in sorted(root.glob(f"*/{split}-*.parquet")):
            yield path.parent.name, path


def _named(root: Path, name: str, file: str) -> list[Path]:
    path = root / file
    if path.is_file():
        return [path]
    if path.is_dir():
        files = [found for found in sorted(path.iterdir()) if is_table(found)]
    else:
        pattern = Path(file)
        base = Path(pattern.anchor) if pattern.is_absolute() else root
        files = sorted(base.glob(str(pattern.relative_to(pattern.anchor) if pattern.is_absolute() else pattern)))
    if not files:
        raise DataError(f"{name}: no table at {path} (a {', '.join(TABLE_SUFFIXES)} file, a folder or a glob)")
    return files
