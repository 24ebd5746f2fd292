"""Unpack a tar file that is not trusted, whole or in parts: nothing outside the folder, no more bytes than allowed."""

import io
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

from llave.data.door import named
from llave.data.unzip import MAX_FILE_BYTES, MAX_TOTAL_BYTES, PIECE, inner_path
from llave.errors import DataError
from llave.files import settle, whole_file

__all__ = ["Member", "unpack_tar"]


class Member(tarfile.TarInfo):
    """A damaged header is an error, where tarfile takes it for the archive's end and leaves out the rest."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "Member":
        """From a header's bytes; as tarfile has it, of none or of zeros it says that this is the end."""
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if not bytes(buf).strip(b"\0"):
                raise
            raise tarfile.ReadError(f"a damaged header: {error}") from None


def unpack_tar(
    parts: Sequence[Path],
    folder: Path,
    *,
    strip: str = "",
    max_file_bytes: int = MAX_FILE_BYTES,
    max_total_bytes: int = MAX_TOTAL_BYTES,
) -> int:
    """Unpack into ``folder``; a file that is there with its size is left, so a second call goes on.

    Args:
        parts: the archive, or the pieces that it was cut into, in order.
        strip: a first folder that is left out of the names.
        max_file_bytes: of one unpacked file.
        max_total_bytes: of all of them.

    Returns:
        The number of files in the archive.

    Raises:
        DataError: not a tar file, a damaged one, or a member that is not allowed.
    """
    total = 0
    written: list[Path] = []
    with (
        named(str(parts[0]), "cannot unpack"),
        io.BufferedReader(_Joined(parts), PIECE) as stream,
        tarfile.open(fileobj=stream, mode="r|*", tarinfo=Member) as archive,
    ):
        for member in archive:
            if member.isdir():
                continue
            path = inner_path(parts[0], member.name.removeprefix("./"))
            if not member.isreg() or member.issparse():
                raise DataError(f"{parts[0]}: {member.name!r} is a link, a device or a file with holes")
            total += member.size
            if member.size > max_file_bytes or total > max_total_bytes:
                raise DataError(f"{parts[0]}: {member.name!r} is over the limit of bytes")
            inner = path.relative_to(strip) if strip and path.parts[0] == strip else path
            _write(archive, member, folder / inner)
            written.append(folder / inner)
        settle(written)
    return len(written)


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Through a temporary name, so that a file with its own name is whole."""
    if target.is_file() and target.stat().st_size == member.size:
        return
    source = archive.extractfile(member)
    assert source is not None  # a regular file
    with whole_file(target, durable=False) as partial:
        with source, partial.open("wb") as sink:
            shutil.copyfileobj(source, sink, PIECE)
        if partial.stat().st_size != member.size:
            raise DataError(f"{member.name}: the archive ends within it")


class _Joined(io.RawIOBase):
    """Files read one after the other."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._waiting = list(paths)
        self._open: io.BufferedReader | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        while True:
            if self._open is None:
                if not self._waiting:
                    return 0
                self._open = self._waiting.pop(0).open("rb")
            count = self._open.readinto(buffer)
            if count:
                return count
            self._open.close()
            self._open = None

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
        super().close()
