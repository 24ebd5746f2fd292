"""Write a file or a folder whole or not at all: the only way to write what somebody may read later.

What is written grows in a folder of its own beside the target, ``.llave-XXXX.partial/NAME``, and is renamed when it is
on the disk. So any number of processes may write the same path at once (the last one wins), a library sees the name
with its real ending, modes are the umask's, and listing ``*.parquet`` never shows half a table. An exception removes
the folder; a kill leaves it to :func:`remove_leftovers`, which passes over those that a living process has locked.

In object storage (:class:`~llave.storage.location.ObjectPath`) a file is one upload, whole or not at all.
"""

import fcntl
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from llave.storage.location import Location, ObjectPath, location

__all__ = [
    "holds_nothing",
    "own_folder",
    "recover_folder",
    "remove_leftovers",
    "settle",
    "whole_file",
    "whole_folder",
    "write_bytes",
    "write_json",
    "write_jsonl",
    "write_text",
]

PREFIX, SUFFIX = ".llave-", ".partial"


@contextmanager
def whole_file(path: str | Location, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path, of the same name and ending, for any writer; afterwards the file is at ``path``.

    Folders that are missing are made. A file that is replaced keeps its mode; a link stays one, and a device or a pipe
    is written to as it is.

    Args:
        path: of the file.
        durable: on the disk before it has its name, so that a power failure leaves the old one or the new one. Not for
            thousands of small files: see :func:`settle`.
    """
    path = location(path)
    if isinstance(path, ObjectPath):
        with tempfile.TemporaryDirectory(prefix=PREFIX, suffix=SUFFIX) as folder:
            yield Path(folder) / path.name
            path.upload(Path(folder) / path.name)
        return
    if path.exists() and not path.is_file():
        yield path
        return
    target = Path(os.path.realpath(path))
    with _beside(target) as partial:
        mode = _mode(target) if target.exists() else _new_mode(partial)
        yield partial
        partial.chmod(mode)
        if durable:
            _sync(partial)
        partial.replace(target)
        if durable:
            _sync(target.parent)


@contextmanager
def whole_folder(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """An empty temporary folder to fill; afterwards it is at ``path``, its files on the disk.

    Args:
        path: of the folder; one that is there must be empty, or is replaced.
        replace: one process at a time. No system call swaps two folders everywhere, so that a kill at the worst moment
            leaves the old one aside, from where :func:`recover_folder` brings it back.

    Raises:
        OSError: a folder that is not empty is there by now; nothing is changed.
    """
    target = Path(os.path.realpath(path))
    with _beside(target) as partial:
        mode = _new_mode(partial)
        partial.mkdir()
        yield partial
        for path in (*partial.rglob("*"), partial):
            if path.is_symlink():
                continue
            if path.is_file():
                path.chmod(mode)
            _sync(path)
        if replace:
            recover_folder(target)
            if target.exists():
                target.rename(_aside(target))
        partial.rename(target)
        _sync(target.parent)
        if replace:
            shutil.rmtree(_aside(target), ignore_errors=True)


def recover_folder(path: Path) -> None:
    """Finish or undo what a kill left of :func:`whole_folder`: the old folder or the new one is at ``path``."""
    old = _aside(path)
    if old.exists() and not path.exists():
        old.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def write_bytes(path: str | Location, content: bytes) -> None:
    """A file of these bytes."""
    with whole_file(path) as partial:
        partial.write_bytes(content)


def write_text(path: str | Location, text: str) -> None:
    """For people to read: UTF-8, half of a surrogate pair as ``?``."""
    write_bytes(path, text.encode("utf-8", "replace"))


def write_json(path: str | Location, value: Any, *, indent: int = 2) -> None:
    """As JSON in UTF-8. Texts come back as they were, with halves of surrogate pairs too."""
    write_bytes(path, _json(value, indent))


def write_jsonl(path: str | Location, values: Iterable[Any]) -> None:
    """One JSON value a line, taken one by one."""
    with whole_file(path) as partial, partial.open("wb") as file:
        file.writelines(_json(value, None) for value in values)


def settle(paths: Iterable[Path]) -> None:
    """The end of many files that were written without ``durable``: they are on the disk, and no leftovers beside them.

    Quicker than one by one, because the disk has written most of them by now.
    """
    folders = set()
    for path in paths:
        _sync(path)
        folders.add(path.parent)
    for folder in folders:
        _sync(folder)
        remove_leftovers(folder)


def remove_leftovers(folder: Location) -> None:
    """Remove what writers that were killed left directly in a folder; those at work are not disturbed.

    An empty one stays: it may be of a writer that has just begun, and has not locked it yet. In object storage there
    are none.
    """
    if isinstance(folder, ObjectPath):
        return
    for path in _leftovers(folder):
        with suppress(OSError), _opened(path) as number:  # gone, in use, or no locks in this file system
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if any(path.iterdir()):
                shutil.rmtree(path)


@contextmanager
def own_folder(parent: Path) -> Iterator[Path]:
    """A folder in another one that goes in the end; what a kill leaves, the next process that makes one removes."""
    remove_leftovers(parent)
    with _beside(parent / "own") as path:
        yield path.parent


def holds_nothing(folder: Path) -> bool:
    """Whether a folder is missing or empty, but for what writers are about to write, or left when they were killed."""
    return not folder.exists() or (folder.is_dir() and len(list(folder.iterdir())) == len(_leftovers(folder)))


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(
            prefix=PREFIX, suffix=SUFFIX, dir=target.parent, ignore_cleanup_errors=True
        ) as folder,
        _opened(Path(folder)) as number,
    ):
        with suppress(OSError):  # a file system without locks
            fcntl.flock(number, fcntl.LOCK_EX)  # until the process ends, however it does
        yield Path(folder) / target.name


def _sync(path: Path) -> None:
    """A file's content, or a folder's names."""
    with _opened(path) as number:
        os.fsync(number)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    number = os.open(path, os.O_RDONLY)
    try:
        yield number
    finally:
        os.close(number)


def _leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(f"{PREFIX}*{SUFFIX}"))


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _new_mode(path: Path) -> int:
    """Of a file that is made there: the umask's. Some libraries (safetensors) give theirs to the user alone."""
    path.touch()
    try:
        return _mode(path)
    finally:
        path.unlink()


def _aside(path: Path) -> Path:
    return path.with_name(f"{PREFIX}old-{path.name}")


def _json(value: Any, indent: int | None) -> bytes:
    # "\ud800" is JSON's own escape for what UTF-8 cannot hold.
    return (json.dumps(value, indent=indent, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
