"""Unpack a zip file that is not trusted: nothing outside the folder, no links, no more bytes than allowed."""

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from llave.data.door import named
from llave.errors import DataError
from llave.files import settle, whole_file

__all__ = ["MAX_FILE_BYTES", "MAX_TOTAL_BYTES", "inner_path", "unpack"]

MAX_FILE_BYTES = 1 << 30
MAX_TOTAL_BYTES = 200 << 30
PIECE = 1 << 20


def unpack(
    archive: Path, folder: Path, *, max_file_bytes: int = MAX_FILE_BYTES, max_total_bytes: int = MAX_TOTAL_BYTES
) -> int:
    """Unpack into ``folder``; a file that is there with its size is left, so a second call goes on.

    Args:
        max_file_bytes: of one unpacked file.
        max_total_bytes: of all of them.

    Returns:
        The number of files in the archive.

    Raises:
        DataError: not a zip file, a damaged one, or a member that is not allowed; no member is written then that
            comes after it.
    """
    with named(str(archive), "cannot unpack"), zipfile.ZipFile(archive) as file:
        members = [member for member in file.infolist() if not member.is_dir()]
        _check(archive, members, max_file_bytes, max_total_bytes)
        for member in members:
            _write(file, member, folder / member.filename)
        settle(folder / member.filename for member in members)
    return len(members)


def inner_path(archive: Path, name: str) -> PurePosixPath:
    """A member's name as a path below the folder.

    Raises:
        DataError: it is none, or leads out of it.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or (path.parts and ":" in path.parts[0]):
        raise DataError(f"{archive}: {name!r} leads out of the folder")
    if not path.parts or "\0" in name:
        raise DataError(f"{archive}: {name!r} is not a name of a file")
    return path


def _check(archive: Path, members: list[zipfile.ZipInfo], max_file_bytes: int, max_total_bytes: int) -> None:
    for member in members:
        inner_path(archive, member.filename)
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(f"{archive}: {member.filename!r} is a link")
        if member.file_size > max_file_bytes:
            raise DataError(f"{archive}: {member.filename!r} has {member.file_size:,} bytes, over {max_file_bytes:,}")
    total = sum(member.file_size for member in members)
    if total > max_total_bytes:
        raise DataError(f"{archive}: {total:,} bytes unpacked, over the limit of {max_total_bytes:,}")


def _write(file: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Through a temporary name, so that a file with its own name is whole. zipfile reads no more than it announced."""
    if target.is_file() and target.stat().st_size == member.file_size:
        return
    with whole_file(target, durable=False) as partial, file.open(member) as source, partial.open("wb") as sink:
        shutil.copyfileobj(source, sink, PIECE)
