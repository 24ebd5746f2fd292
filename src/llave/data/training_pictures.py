"""The pictures of training rows: files of this machine, objects of a bucket, or files in archives in either, each read
when it is needed."""

import hashlib
import os
from pathlib import Path

from PIL import Image

from llave.data.archived import archived
from llave.data.images import load_image
from llave.data.media import media_bytes
from llave.data.pages import split_page
from llave.errors import DataError
from llave.storage.location import Location, ObjectPath
from llave.storage.reading import of_itself

__all__ = ["Identities", "load_picture", "picture_digest"]

MISSING = -1, -1


def load_picture(path: Location) -> Image.Image:
    """A picture, decoded.

    Raises:
        DataError: not there, or not a picture.
        StorageError: its bucket cannot be reached.
    """
    inside = archived(path)
    if isinstance(path, Path) and inside is None:
        return load_image(path)
    try:
        if inside is not None:
            return load_image(inside.read())
        assert isinstance(path, ObjectPath)
        with of_itself(path.parent):
            return load_image(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such object") from None
    except DataError as error:
        said = str(error)
        raise DataError(said if str(path) in said else f"{path}: {said}") from None


class Identities:
    """What tells whether pictures are the same, and have changed. A bucket is listed once: objects of one size and tag
    (S3's is a hash of the content) are the same picture.

    Args:
        images: the folder of the pictures.
    """

    def __init__(self, images: Location) -> None:
        found = images.files() if isinstance(images, ObjectPath) else ()
        self._objects = {str(images / each.key): f"{each.size} {each.tag}".encode() for each in found}

    def stamp(self, path: Location) -> tuple[int, int]:
        """Two numbers that are others when it has changed: size and time of a file; -1 of one that is not there. What
        is in an archive is checked when it is read."""
        if (inside := archived(path)) is not None:
            return inside.last - inside.first + 1, 0
        if isinstance(path, ObjectPath):
            about = self._objects.get(str(path))
            return MISSING if about is None else (0, int.from_bytes(hashlib.sha256(about).digest()[:7], "big"))
        try:
            stat = os.stat(split_page(path)[0])
        except (OSError, ValueError):  # a name with a NUL
            return MISSING
        return stat.st_size, stat.st_mtime_ns

    def digest(self, path: Location) -> bytes:
        """32 bytes of what it shows; of one that cannot be read, of its path."""
        if (inside := archived(path)) is not None:
            return hashlib.sha256(f"{inside.last - inside.first + 1} {inside.digest}".encode()).digest()
        if not isinstance(path, ObjectPath):
            return picture_digest(path)
        about = self._objects.get(str(path))
        return _missing(path) if about is None else hashlib.sha256(about).digest()


def picture_digest(path: Path) -> bytes:
    """SHA-256 of what a picture shows; of one that cannot be read, of its path."""
    media = hashlib.sha256()
    try:
        for block in media_bytes(path):
            media.update(block)
    except (OSError, ValueError):
        return _missing(path)
    return media.digest()


def _missing(path: Location) -> bytes:
    return hashlib.sha256(b"missing|" + os.path.normpath(str(path)).encode("utf-8", "surrogateescape")).digest()
