"""Where a benchmark's rows and media are on this machine.

Rows are looked for under the benchmark's folder (``rows/OWNER/NAME``, ``OWNER/NAME``, or where another release of the
same data puts them), and then where ``hf download OWNER/NAME`` leaves them: in the hub's cache.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llave.data.hub_cache import hub_snapshot, revision_of
from llave.data.mmeb import RowItem
from llave.data.tables import TABLE_SUFFIXES, is_table, named_tables, read_table
from llave.errors import DataError
from llave.evaluation.benchmarks.spec import TaskSpec
from llave.evaluation.benchmarks.task import Absent

__all__ = ["Place", "is_of", "of_config", "picture_file"]

VIDEOS = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".webp", ".gif")


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of a benchmark; paths of pictures, videos and sounds are relative to it.

    Args:
        root: the folder.
        how: how to get what is missing.
        also: of a folder's name in the table, what else it is called.
        cache: another cache of the hub than the usual.
    """

    root: Path
    how: str = ""
    also: Mapping[str, Sequence[str]] = field(default_factory=dict)
    cache: Path | None = None

    def image(self, item: RowItem) -> Path | None:
        """The picture of an item, or None."""
        return self.root / item.image if item.image else None

    def video(self, item: RowItem) -> Path | None:
        """The video of an item, or None."""
        return self.root / item.video if item.video else None

    def audio(self, item: RowItem) -> Path | None:
        """The sound of an item, or None."""
        return self.root / item.audio if item.audio else None

    def missing(self, spec: TaskSpec, *, packed: bool = False) -> str | None:
        """What is not there of a data set's rows and media, in words; None if nothing.

        Args:
            packed: media may be in archives.
        """
        rows = self.rows_folder(spec)
        if spec.reader == "mmeb" and self.laid_out(spec):
            return None
        if spec.reader == "mmeb" and not self.tables_of(spec, spec.name):
            snapshot = hub_snapshot(spec.rows, self.cache)
            return f"{spec.name}: no {spec.name}.parquet in {snapshot or self.root / 'eval'}"
        if not rows.exists():
            return f"{spec.name}: no rows at {rows}"
        if not spec.media or spec.reader == "beir" or packed:  # of collections, single files are told
            return None
        found = any((self.root / folder).is_dir() for folder in self._folders(spec))
        return None if found else f"{spec.name}: no {spec.modality} files at {self.media(spec)}"

    def laid_out(self, spec: TaskSpec) -> bool:
        """Whether a data set lies as MMEB's format has it: ``eval/NAME.parquet`` beside ``images/``."""
        return spec.name in named_tables(self.root / "eval")

    def media(self, spec: TaskSpec) -> Path:
        """The folder of a data set's pictures, videos, sounds or frames."""
        return self.root / self.media_name(spec)

    def media_name(self, spec: TaskSpec) -> str:
        """The same, relative to the benchmark's folder: as the table calls it, or as this release does."""
        return next((name for name in self.names(spec.media) if (self.root / name).is_dir()), spec.media)

    def names(self, name: str) -> list[str]:
        """What a folder of the table may be called, the table's name first."""
        return [
            name,
            *(
                other + name.removeprefix(known)
                for known, others in self.also.items()
                if name == known or name.startswith(f"{known}/")
                for other in others
            ),
        ]

    def _folders(self, spec: TaskSpec) -> tuple[str, str]:
        """The folder of media, and the one of films where the former is of frames."""
        media = self.media_name(spec)
        return media, media.replace("/frames/", "/videos/")

    def rows_folder(self, spec: TaskSpec) -> Path:
        """The file or folder of a data set's rows; where there is none, that where it is first looked for."""
        if spec.reader == "mmeb" and self.laid_out(spec):
            return self.root / "eval" / spec.name
        names = [f"rows/{spec.rows}", *self.names(spec.rows)]
        under = [self.root / name for name in names]
        if spec.reader == "mmeb":
            under = [path for path in (*under, self.root) if path.is_dir() and self.tables_of(spec, spec.name, path)]
        found = next((path for path in under if path.exists()), None)
        if found is None and "/" in (repository := spec.hub or spec.rows):
            snapshot = hub_snapshot(repository, self.cache)
            inside = [] if snapshot is None else [snapshot / name for name in (names[1:] if spec.hub else [""])]
            found = next((path for path in inside if path.exists()), None)
        return found or self.root / "rows" / spec.rows

    def revision(self, spec: TaskSpec) -> str | None:
        """The hub's commit that a data set's tables are of, where it can be told."""
        copied = spec.reader == "mmeb" and self.laid_out(spec)  # into eval/, from files that the root tells of
        return revision_of(self.root if copied else self.rows_folder(spec))

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
        split is named in counts for every split. ``FOLDER/CONFIG`` is the configuration's files in that folder.
        """
        found = self.tables_of(spec, config)
        if not found:
            of = f" of configuration {config}" if config else ""
            where = f"{self.rows_folder(spec)} ({', '.join(TABLE_SUFFIXES)})"
            raise Absent(f"{spec.name}: no table{of} in {where}{self.advice}")
        return found

    def tables_of(self, spec: TaskSpec, config: str = "", place: Path | None = None) -> list[Path]:
        """The same, or none; ``place``: in another folder than that of the data set's rows."""
        place = self.rows_folder(spec) if place is None else place
        if place.is_file():
            return [place]
        inner, _, config = config.rpartition("/")
        place = place / inner
        if "*" in config:
            return sorted(path for path in place.glob(config) if is_table(path))
        near = ("*", "data/*", f"{config}/**/*")  # before the whole folder, which may hold a hundred thousand pictures
        found = _tables(place, near, config, spec.hub_split) if config else []
        if not found and spec.reader != "mmeb":
            found = _tables(place, ("**/*",), config, spec.hub_split)
        of_split = (
            [path for path in found if is_of(path.relative_to(place), spec.hub_split)] if spec.hub_split else found
        )
        return of_split or found

    @property
    def advice(self) -> str:
        """The way out, to end a message with."""
        return f"; {self.how}" if self.how else ""

    def video_path(self, spec: TaskSpec, name: str) -> str:
        """A video's path relative to the folder: a folder of frames, or a film beside them or under ``videos``."""
        frames, films = self._folders(spec)
        if (self.root / frames / name).exists():
            return f"{frames}/{name}"
        for folder in (frames, films):
            for suffix in VIDEOS:
                if (self.root / folder / f"{name}{suffix}").is_file():
                    return f"{folder}/{name}{suffix}"
        return f"{frames}/{name}"  # encoding lists it as missing


def _tables(place: Path, patterns: Sequence[str], config: str, split: str) -> list[Path]:
    found = {path for pattern in patterns for path in place.glob(pattern) if is_table(path) and path.name[0] != "."}
    if not config:
        return sorted(found)
    return [place / name for name in of_config([path.relative_to(place) for path in sorted(found)], config, split)]


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
