"""The client of a Qdrant server, or of a folder in its local mode. A server that is away for a moment is waited for."""

import functools
import re
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from llave.data.door import named, reason_of
from llave.errors import UserError
from llave.storage.location import Location

__all__ = ["PatientClient", "connect", "drop_collection"]

WAITS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each new try: a server that is started anew is back by then."""
SECONDS = 60
"""That one call may take, and after which nothing is tried again."""
SAID = re.compile(rb'"error":\s*"([^"\\]{1,200})')
"""In the JSON of an answer that is an error."""
BUSY = 429
"""HTTP's status of a server that has too much to do; from 500 on it is the server's fault."""


class PatientClient:
    """The client's methods, called anew where the server does not answer, closes the connection or says that it cannot
    just now. Each of them, done twice, changes nothing more.

    Args:
        client: of the server.
        address: for messages.
    """

    def __init__(self, client: QdrantClient, address: str) -> None:
        self._client = client
        self._address = address
        self._met = False

    def __getattr__(self, name: str) -> Any:
        return functools.partial(self._call, getattr(self._client, name))

    def _call(self, method: Any, *args: Any, **options: Any) -> Any:
        """What the method gives back.

        Raises:
            UserError: the server stays away, or refuses.
        """
        end = time.monotonic() + SECONDS
        for wait in (*WAITS, None):
            try:
                result = method(*args, **options)
                self._met = True
                return result
            except (ApiException, QdrantException) as error:
                status = (error.status_code or 500) if isinstance(error, UnexpectedResponse) else 500
                if status < 500 and status != BUSY:
                    raise UserError(f"{self._address}: Qdrant says: {_reason(error)}") from None
                if wait is None or not self._met or time.monotonic() + wait > end:
                    raise self._away(error) from None
            time.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def _away(self, error: Exception) -> UserError:
        if not self._met:
            return UserError(f"{self._address}: no Qdrant server that answers ({_reason(error)})")
        return UserError(
            f"{self._address}: the Qdrant server does not answer any more ({_reason(error)}); what was written before "
            "stays, and the same command goes on"
        )


def _reason(error: Exception) -> str:
    """In a line: what the server says itself, or what became of the connection."""
    if isinstance(error, UnexpectedResponse):
        said = SAID.search(error.content)
        return f"{error.status_code} {said[1].decode(errors='replace') if said else error.reason_phrase}"
    return reason_of(getattr(error, "source", error))


def connect(url: str | Path, api_key: str | None = None) -> Any:
    """Not a word is said to a server yet."""
    if "://" not in str(url):
        return QdrantClient(path=str(url))
    return PatientClient(QdrantClient(url=str(url), api_key=api_key, timeout=SECONDS), str(url))


def drop_collection(url: str | Path, collection: str, types: Location, *, api_key: str | None = None) -> None:
    """Remove a collection, if it is there, and what is kept of it here (``types``: the file of its fields)."""
    with closing(connect(url, api_key)) as client, named(f"the Qdrant collection {collection!r}", "cannot remove"):
        client.delete_collection(collection)
    for file in (types, types.with_suffix(".changes")):
        file.unlink(missing_ok=True)
