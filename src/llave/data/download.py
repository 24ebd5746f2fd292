"""Fetch MMEB-train from the hub, or from a copy of it: only what is wanted, checked, unpacked, safe to repeat."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import pyarrow.compute as pc
from rich.console import Console

from llave.data.mmeb_train import REPOSITORY, TASKS, check_subsets
from llave.data.sources import find_source
from llave.data.train_table import TrainTable, open_table
from llave.data.unzip import unpack
from llave.errors import DataError, UserError

__all__ = ["Expected", "FolderFiles", "HubFiles", "Subset", "download_mmeb_train"]

DONE = ".llave-download.json"
"""Size and hash of what was fetched and unpacked, so that a repetition is quick."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the hub states of a file; ``sha256`` is None for files that it does not keep as LFS."""

    size: int | None
    sha256: str | None


class Files(Protocol):
    """Where the files come from."""

    listing: dict[str, Expected]

    def fetch(self, path: str, out: Path) -> Path:
        """The local file of a listed path."""


class HubFiles:
    """The repository on the hub, at one commit.

    Args:
        revision: branch, tag or commit; it is resolved once, so that all files are of one commit.
        endpoint: another address than the hub's (or ``$HF_ENDPOINT``).

    Raises:
        UserError: the hub cannot be reached, or has no such revision.
    """

    def __init__(self, revision: str | None = None, *, endpoint: str | None = None) -> None:
        from huggingface_hub import HfApi

        self.endpoint = endpoint
        with _reaching():
            info = HfApi(endpoint=endpoint).dataset_info(REPOSITORY, revision=revision, files_metadata=True)
        self.revision = info.sha or revision
        self.listing = {
            file.rfilename: Expected(file.size, file.lfs.sha256 if file.lfs is not None else None)
            for file in info.siblings or []
        }

    def fetch(self, path: str, out: Path) -> Path:
        """Download a file into ``out``; one cut short goes on where it stopped."""
        from huggingface_hub import hf_hub_download

        with _reaching():
            return Path(
                hf_hub_download(
                    REPOSITORY,
                    path,
                    repo_type="dataset",
                    revision=self.revision,
                    local_dir=out,
                    endpoint=self.endpoint,
                )
            )


@contextmanager
def _reaching() -> Iterator[None]:
    """Turns the hub's many errors into one line."""
    try:
        yield
    except Exception as error:  # httpx's, the hub's own, and OSError: whatever it is, the way out is the same
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"cannot fetch {REPOSITORY} from the hub ({reason}); check the network and --revision, then run this "
            "again (it goes on), or give a copy of the repository with --source DIR"
        ) from None


class FolderFiles:
    """A copy of the repository in a folder: a snapshot, or a git clone with its LFS files."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder (--source)")
        self.folder = folder
        self.listing = {
            path.relative_to(folder).as_posix(): Expected(path.stat().st_size, None)
            for pattern in ("*/*.parquet", "images_zip/*.zip")
            for path in sorted(folder.glob(pattern))
        }

    def fetch(self, path: str, out: Path) -> Path:
        """Tables are copied; zip files are read where they are."""
        if path.endswith(".zip"):
            return self.folder / path
        target = out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.folder / path, target)
        return target


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
    done = _Done(out / DONE)
    found = []
    for name in names:
        tables = sorted(path for path in files.listing if PurePosixPath(path).match(f"{name}/{split}-*.parquet"))
        if not tables:
            raise UserError(f"{REPOSITORY} has no {name}/{split}-*.parquet here")
        for path in tables:
            _fetch(files, path, out, done)
        table = open_table(find_source(out, name, split=split))
        for archive in _archives(table):
            if archive not in files.listing:
                raise UserError(f"{name}: its pictures should be in {archive}, which is not in {REPOSITORY} here")
            expected = files.listing[archive]
            if not done.has(f"unpacked {archive}", expected):
                console.print(f"{name}: {archive} ({(expected.size or 0) / 1e9:.2f} GB)")
                unpack(_fetch(files, archive, out, done), out / "images")
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


def _fetch(files: Files, path: str, out: Path, done: "_Done") -> Path:
    """A file with the size and hash that are stated; a file that was checked before is not read again."""
    expected = files.listing[path]
    local = out / path
    if local.is_file() and local.stat().st_size == expected.size and done.has(path, expected):
        return local
    local = files.fetch(path, out)
    size = local.stat().st_size
    if expected.size is not None and size != expected.size:
        raise UserError(f"{local}: {size:,} bytes instead of {expected.size:,}; delete it and run this again")
    if expected.sha256 is not None and _sha256(local) != expected.sha256:
        raise UserError(f"{local}: not the content that the hub states (SHA-256); delete it and run this again")
    done.add(path, expected)
    return local


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Done:
    """What was fetched or unpacked before, kept in a small JSON file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._done: dict[str, list[object]] = {}
        if path.is_file():
            try:
                self._done = json.loads(path.read_text("utf-8"))
            except ValueError:
                raise DataError(f"{path}: damaged; delete it and run this again") from None

    def has(self, name: str, expected: Expected) -> bool:
        return self._done.get(name) == [expected.size, expected.sha256]

    def add(self, name: str, expected: Expected) -> None:
        self._done[name] = [expected.size, expected.sha256]
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self._done, indent=1), "utf-8")
        partial.replace(self.path)
