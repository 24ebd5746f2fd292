"""Where an error of one file becomes that file's error, whatever raised it."""

import contextlib
from collections.abc import Iterator

from llave.data.formats.structure import Unreadable
from llave.errors import DataError, UserError

__all__ = ["named", "reason_of"]

MOST = 200
"""Characters of a library's message."""


@contextlib.contextmanager
def named(name: str, failure: str = "cannot decode") -> Iterator[None]:
    """Whatever is raised within becomes a :class:`DataError` about ``name``. UserErrors pass; they say it themselves.

    Out of memory is the file's error too: what it asked for was too much, and what it had is free again.
    """
    try:
        yield
    except UserError:
        raise
    except Unreadable as error:
        raise DataError(f"{name}: {error}") from None
    except Exception as error:
        raise DataError(f"{name}: {failure} ({reason_of(error)})") from None


def reason_of(error: Exception) -> str:
    """The first line of what a library says, or what kind of error it is."""
    said = getattr(error, "strerror", None) or str(error)
    if isinstance(error, MemoryError):
        return "not enough memory"
    return next((line.strip()[:MOST] for line in said.split("\n") if line.strip()), type(error).__name__)
