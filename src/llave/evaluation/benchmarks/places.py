"""Where a benchmark's rows and media are on this machine."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llave.data.mmeb import RowItem
from llave.data.tables import TABLE_SUFFIXES, is_table, named_tables, read_table
from llave.errors import DataError
from llave.evaluation.benchmarks.spec import TaskSpec

__all__ = ["Place", "is_of", "of_config", "picture_file"]

VIDEOS = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".webp", ".gif")


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of a benchmark; paths of pictures and videos are relative to it.

    ``how`` says how to get what is missing.
    """

    root: Path
    how: str = ""

    def image(self, item: RowItem) -> Path | None:
        """The picture of an item, or None."""
        return self.root / item.image if item.image else None

    def video(self, item: RowItem) -> Path | None:
        """The video of an item, or None."""
        return self.root / item.video if item.video else None

    def audio(self, item: RowItem) -> Path | None:
        """The audio file of an item, or None."""
        return self.root / item.audio if item.audio else None

    def missing(self, spec: TaskSpec) -> str | None:
        """What is not there of a data set's rows and media, in words; None if nothing."""
        rows = self.rows_folder(spec)
        if spec.reader == "mmeb":
            found = spec.name in named_tables(self.root / "eval")
            return None if found else f"{spec.name}: no {spec.name}.parquet in {self.root / 'eval'}"
        if not rows.exists():
            return f"{spec.name}: no rows at {rows}"
        if spec.media and spec.reader != "beir" and not any(folder.is_dir() for folder in self._folders(spec)):
            return f"{spec.name}: no {spec.modality} files at {self.media(spec)}"
        return None

    def media(self, spec: TaskSpec) -> Path:
        """The folder of a data set's pictures, videos or frames."""
        return self.root / spec.media

    def _folders(self, spec: TaskSpec) -> tuple[Path, Path]:
        """The folder of media, and the one of films where the former is of frames."""
        return self.media(spec), self.root / spec.media.replace("/frames/", "/videos/")

    def rows_folder(self, spec: TaskSpec) -> Path:
        """The file or folder of a data set's rows."""
        if spec.reader == "mmeb":
            return self.root / "eval" / spec.name
        nested = self.root / "rows" / spec.rows
        return nested if nested.exists() or not (self.root / spec.rows).exists() else self.root / spec.rows

    def rows(
        self, spec: TaskSpec, configs: Sequence[str] | None = None
    ) -> Iterator[tuple[str, dict[str, Any] | DataError]]:
        """``("FILE row N", row)`` of a data set's tables; ``row["{config}"]`` is its configuration.

        In place of a row that cannot be read there is what is wrong with it.

        Args:
            configs: instead of the data set's own.

        Raises:
            DataError: no table, or one of which nothing can be read.
        """
        for config in configs if configs is not None else spec.configs or [""]:
            for path in self.tables(spec, config):
                for number, row in enumerate(read_table(path)):
                    where = f"{path} row {number}"
                    if isinstance(row, dict):
                        yield where, {**row, "{config}": config}
                    else:
                        yield where, row if isinstance(row, DataError) else DataError(f"{where}: expected an object")

    def tables(self, spec: TaskSpec, config: str = "") -> list[Path]:
        """Files of a configuration and of the data set's split, as the hub lays them out, sorted.

        ``CONFIG/test-00000-of-00001.parquet``, ``data/CONFIG-test.jsonl``, ``CONFIG.json`` and the like; a file that no
        split is named in counts for every split.
        """
        place = self.rows_folder(spec)
        if place.is_file():
            return [place]
        found = sorted(path for path in place.rglob("*") if is_table(path) and not path.name.startswith("."))
        if config:
            names = of_config([path.relative_to(place) for path in found], config, spec.hub_split)
            found = [place / name for name in names]
        of_split = (
            [path for path in found if is_of(path.relative_to(place), spec.hub_split)] if spec.hub_split else found
        )
        if not found:
            of = f" of configuration {config}" if config else ""
            raise DataError(f"{spec.name}: no table{of} in {place} ({', '.join(TABLE_SUFFIXES)}){self.advice}")
        return of_split or found

    @property
    def advice(self) -> str:
        """The way out, to end a message with."""
        return f"; {self.how}" if self.how else ""

    def video_path(self, spec: TaskSpec, name: str) -> str:
        """A video's path relative to the folder: a folder of frames, or a film beside them or under ``videos``."""
        frames = self.media(spec) / name
        if frames.exists():
            return f"{spec.media}/{name}"
        for folder in self._folders(spec):
            for suffix in VIDEOS:
                if (folder / f"{name}{suffix}").is_file():
                    return f"{folder.relative_to(self.root).as_posix()}/{name}{suffix}"
        return f"{spec.media}/{name}"  # encoding lists it as missing


def picture_file(name: str, naming: str) -> str:
    """File name of a corpus's picture: ``ID.png``, or the released bundle's shortened name with a hash."""
    if naming == "plain":
        return name if Path(name).suffix.lower() in (".png", ".jpg", ".jpeg", ".webp") else f"{name}.png"
    stem, suffix = os.path.splitext(name)
    return f"{stem[:50]}_{hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()[:8]}{suffix}"


def of_config(paths: Sequence[Path], config: str, split: str) -> list[Path]:
    """The paths of a configuration; one that is called so wins over one whose name only begins so (MSCOCO_t2i)."""
    exact = {config, *(f"{config}{mark}{split}" for mark in "-_")}
    called = [path for path in paths if config in path.parts[:-1] or path.name.split(".")[0] in exact]
    return called or [path for path in paths if is_of(path, config)]


def is_of(path: Path, word: str) -> bool:
    """Whether a path names a configuration or split: as a folder, or as a part of the file's name."""
    stem = path.name.split(".")[0]
    return word in path.parts[:-1] or stem == word or stem.startswith((f"{word}-", f"{word}_")) or f"-{word}" in stem
