"""Pictures in tar archives, read where they lie: ``part-0.tar#bytes=1536-22015&sha256=0123456789abcdef`` names the
first and the last byte, as HTTP does, and the content by the beginning of its hash, so that no other is taken for it.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

from llave.errors import DataError
from llave.storage.location import Location, ObjectPath
from llave.storage.reading import of_itself

__all__ = ["Archived", "archived", "name_archived"]

NAME = re.compile(r"(.+\.tar)#bytes=([0-9]{1,15})-([0-9]{1,15})&sha256=([0-9a-f]{16})", re.DOTALL | re.IGNORECASE)
MOST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Archived:
    """A file in an archive.

    Args:
        archive: where it lies.
        first, last: of its bytes there.
        digest: 16 hexadecimal digits of its SHA-256.
    """

    archive: Location
    first: int
    last: int
    digest: str

    def __str__(self) -> str:
        return name_archived(str(self.archive), self.first, self.last, self.digest)

    def read(self) -> bytes:
        """Its content.

        Raises:
            DataError: the archive is gone, or has something else there.
            StorageError: its bucket cannot be reached.
        """
        size = self.last - self.first + 1
        if not 0 <= size <= MOST_BYTES:
            raise DataError(f"{self}: {size:,} bytes, more than {MOST_BYTES:,}, or none")
        try:
            content = self._bytes(size)
        except OSError as error:
            raise DataError(f"{self.archive}: cannot read ({error.strerror or 'no such archive'})") from None
        if hashlib.sha256(content).hexdigest()[:16] != self.digest:
            raise DataError(f"{self.archive}: has another content than when its pairs were listed; list them again")
        return content

    def _bytes(self, size: int) -> bytes:
        if isinstance(self.archive, ObjectPath):
            with of_itself(self.archive.parent):
                return self.archive.read_range(self.first, self.last + 1)
        with self.archive.open("rb") as file:
            file.seek(self.first)
            return file.read(size)


def archived(path: Location) -> Archived | None:
    """Of a path that names one; None of any other."""
    name = path.key if isinstance(path, ObjectPath) else str(path)
    if (found := NAME.fullmatch(name)) is None:
        return None
    archive = replace(path, key=found[1]) if isinstance(path, ObjectPath) else Path(found[1])
    return Archived(archive, int(found[2]), int(found[3]), found[4].lower())


def name_archived(archive: str, first: int, last: int, digest: str) -> str:
    """As rows name it, relative to the folder of the archives."""
    return f"{archive}#bytes={first}-{last}&sha256={digest}"
