"""Files of the hub, or of a copy of it: what is stated of them is checked, and what is done is not done again."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llave.data.door import reason_of
from llave.errors import DataError, UserError
from llave.files import whole_file, write_json

__all__ = ["DONE", "Done", "Expected", "Files", "FolderFiles", "HubFiles", "fetch_checked"]

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
    """A data set's repository on the hub, at one commit.

    Args:
        repository: ``OWNER/NAME``.
        revision: branch, tag or commit; it is resolved once, so that all files are of one commit.
        endpoint: another address than the hub's (or ``$HF_ENDPOINT``).

    Raises:
        UserError: the hub cannot be reached, or has no such revision.
    """

    def __init__(self, repository: str, revision: str | None = None, *, endpoint: str | None = None) -> None:
        from huggingface_hub import HfApi

        self.repository = repository
        self.endpoint = endpoint
        with _reaching(repository):
            info = HfApi(endpoint=endpoint).dataset_info(repository, revision=revision, files_metadata=True)
        self.revision = info.sha or revision
        self.listing = {
            file.rfilename: Expected(file.size, file.lfs.sha256 if file.lfs is not None else None)
            for file in info.siblings or []
        }

    def fetch(self, path: str, out: Path) -> Path:
        """Download a file into ``out``; one cut short goes on where it stopped."""
        from huggingface_hub import hf_hub_download

        with _reaching(self.repository):
            return Path(
                hf_hub_download(
                    self.repository,
                    path,
                    repo_type="dataset",
                    revision=self.revision,
                    local_dir=out,
                    endpoint=self.endpoint,
                )
            )


@contextmanager
def _reaching(repository: str) -> Iterator[None]:
    """Turns the hub's many errors into one line."""
    try:
        yield
    except Exception as error:  # httpx's, the hub's own, and OSError: whatever it is, the way out is the same
        raise UserError(
            f"cannot fetch {repository} from the hub ({reason_of(error)}); check the network and --revision, then "
            "run this again (it goes on), or give a copy of the repository with --source DIR"
        ) from None


class FolderFiles:
    """A copy of a repository in a folder: a snapshot, or a git clone with its LFS files.

    Args:
        folder: the folder.
        patterns: of the files that matter; looking at no others is quick.
    """

    def __init__(self, folder: Path, patterns: Sequence[str] = ("**/*",)) -> None:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder (--source)")
        self.folder = folder
        self.listing = {
            path.relative_to(folder).as_posix(): Expected(path.stat().st_size, None)
            for path in sorted({path for pattern in patterns for path in folder.glob(pattern)})
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        }

    def fetch(self, path: str, out: Path) -> Path:
        """Tables are copied; archives are read where they are."""
        if not path.endswith((".parquet", ".json", ".jsonl", ".csv", ".tsv")):
            return self.folder / path
        target = out / path
        with whole_file(target) as partial:
            shutil.copyfile(self.folder / path, partial)
        return target


def fetch_checked(files: Files, path: str, out: Path, done: "Done") -> Path:
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


class Done:
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
        write_json(self.path, self._done, indent=1)
