"""A model or data in object storage, as files on this machine: fetched once, and opened from there.

They are kept in ``fetched/`` of llave's cache under a name that is made of every object's tag, so that what changes in
the bucket is fetched anew, and what does not never again. Cut off or killed at any moment, the next call goes on where
it was, also within a file; the folder has its name when all of it is there.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from llave.data.cache import cache_directory
from llave.errors import UserError
from llave.files import whole_file
from llave.progress import Work, show_progress
from llave.storage.client import StorageError
from llave.storage.location import Found, Location, ObjectPath, is_address, location

__all__ = ["fetched", "fetched_file", "local"]

STEP = 16 << 20
"""Bytes of a request: what a cut costs at most."""
MOST_BYTES = 2 << 30
"""Of single files that are kept; those that were used longest ago go first."""


def local(path: Path) -> Path:
    """A path as it is; of an address that the user has typed, the folder or file that it was fetched to.

    Raises:
        UserError: see :func:`fetched`.
    """
    return fetched(path) if is_address(path) else path


def fetched(address: str | Location, *, progress: bool = True) -> Path:
    """The folder or file on this machine with what is at an address now. Safe among processes.

    Args:
        address: of a folder, as ``s3://bucket/folder``, or of one object.
        progress: say how much it is, and how far it has come.

    Raises:
        UserError: nothing there, no access, not enough room, or it is changed meanwhile.
    """
    source = location(address)
    assert isinstance(source, ObjectPath)
    found = sorted((each for each in source.files() if not each.key.endswith("/")), key=lambda each: each.key)
    if not found and (itself := source.head()) is not None:
        folder = _fetch(source.parent, [Found(source.name, itself.size, itself.tag, itself.modified)], progress)
        return folder / source.name
    if not found:
        raise UserError(f"{source}: nothing there")
    return _fetch(source, found, progress)


def fetched_file(source: ObjectPath) -> Path | None:
    """An object as a file on this machine, which is there for some time: of all such files, those that were used last
    are kept, :data:`MOST_BYTES` of them. None where there is no such object.

    Raises:
        StorageError: it cannot be read, or is too large.
        UserError: it is changed meanwhile.
    """
    if (about := source.head()) is None:
        return None
    if about.size > MOST_BYTES:
        raise StorageError(
            f"{source}: {about.size / 1e9:,.1f} GB, more than is kept of single files; fetch it yourself"
        )
    name = hashlib.sha256(f"{source}\n{about.size}\n{about.tag}".encode()).hexdigest()[:32]
    folder = cache_directory() / "fetched" / "files"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}{Path(source.name).suffix}"
    if not file.is_file():
        with whole_file(file, durable=False) as partial, partial.open("wb") as content:
            content.writelines(_pieces(source, about))
        _make_room(folder, file)
    os.utime(file, ns=(time.time_ns(), about.modified_ns))  # used now
    return file


def _pieces(source: ObjectPath, about: Found, start: int = 0) -> Iterator[bytes]:
    """An object's content as it was when it was asked about."""
    for place in range(start, about.size, STEP):
        yield source.read_range(place, min(place + STEP, about.size), about.tag)


def _make_room(folder: Path, newest: Path) -> None:
    kept = []
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # another process makes room, too
            kept.append((file.stat(), file))
    kept.sort(key=lambda each: each[0].st_atime_ns, reverse=True)
    size = 0
    for about, file in kept:
        size += about.st_size
        if size > MOST_BYTES and file != newest:
            file.unlink(missing_ok=True)


def _fetch(source: ObjectPath, found: Sequence[Found], progress: bool) -> Path:
    for each in found:
        if any(part in ("", ".", "..") for part in each.key.split("/")) or "\0" in each.key:
            raise UserError(f"{source}: {each.key!r:.100} cannot be the name of a file")
    digest = hashlib.sha256(f"{source}\n".encode())
    for each in found:
        digest.update(f"{each.key}\n{each.size}\n{each.tag}\n".encode())
    kept = cache_directory() / "fetched" / digest.hexdigest()[:32]
    folder = kept / (source.name or source.bucket)
    if folder.is_dir():
        return folder
    partial = kept / "partial"
    partial.mkdir(parents=True, exist_ok=True)
    with FileLock(kept / "fetch.lock"), show_progress(progress) as work:
        if folder.is_dir():
            return folder
        missing = [each for each in found if not (partial / each.key).is_file()]
        todo = sum(each.size for each in missing)
        if todo > (free := shutil.disk_usage(kept).free):
            raise UserError(f"{source}: {todo / 1e9:,.1f} GB, and {kept} has room for {free / 1e9:,.1f} GB")
        work.stage(f"fetch {source}", -(-todo // 1_000_000), unit="MB")
        for each in missing:
            _fetch_file(source, each, partial / each.key, work)
        partial.rename(folder)
    return folder


def _fetch_file(source: ObjectPath, about: Found, target: Path, work: Work) -> None:
    """What is there of it already is kept."""
    target.parent.mkdir(parents=True, exist_ok=True)
    begun = target.with_name(f"{target.name}.begun")
    with begun.open("ab") as file:
        for piece in _pieces(source / about.key, about, file.tell()):
            file.write(piece)
            file.flush()
            end = file.tell()
            work.advance(end // 1_000_000 - (end - len(piece)) // 1_000_000)
        os.fsync(file.fileno())
    os.utime(
        begun, ns=(about.modified_ns, about.modified_ns)
    )  # the same wherever it is fetched: part of what tells a change
    begun.rename(target)
