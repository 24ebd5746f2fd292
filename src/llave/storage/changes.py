"""Whether a file or an object is still the one that it was, and since when."""

from llave.storage.location import Location, ObjectPath

__all__ = ["mark", "modified"]


def mark(file: Location) -> tuple[object, object]:
    """Another one when a file has been replaced.

    Raises:
        OSError: it is not there.
    """
    if isinstance(file, ObjectPath):
        if (found := file.head()) is None:
            raise FileNotFoundError(f"{file}: gone")
        return found.tag, found.modified
    stat = file.stat()
    return stat.st_ino, stat.st_mtime_ns


def modified(file: Location) -> float:
    """When a file was written last, in seconds since 1970.

    Raises:
        OSError: it is not there.
    """
    if isinstance(file, ObjectPath):
        if (found := file.head()) is None:
            raise FileNotFoundError(f"{file}: gone")
        return found.modified
    return file.stat().st_mtime
