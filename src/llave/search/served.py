"""A server of this user's that has an index open: found by the index's folder, and asked in place of opening it here.

A search by a process of its own costs ten seconds of processor time, nearly all of it to import libraries and load the
model. ``llave serve`` has all of that done. It leaves its address in the user's folder of state, never in the index,
which may be anybody's, and holds a lock beside it as long as it lives, so that no address outlives its server.
"""

import contextlib
import hashlib
import json
import math
import os
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from llave.data.door import named
from llave.errors import DataError
from llave.files import write_json
from llave.search.hits import Hit, Hits
from llave.search.trust import state_directory
from llave.storage.location import Location

__all__ = ["IndexServer", "announced", "find_server"]

FOLDER = "serving"
SECONDS = 30.0
"""Waited for an answer."""


@dataclass(frozen=True, slots=True)
class IndexServer:
    """Where an index is served.

    Args:
        url: of its searches.
        rerank: the reranker that it has for the index, as the index's pipeline names it; empty is none.
    """

    url: str
    rerank: str = ""

    def search(self, body: Mapping[str, Any]) -> Hits | None:
        """The hits, of the index as it is on disk now; None where this server does not answer, for whatever reason.

        Args:
            body: of ``/v1/search``.
        """
        headers = {"content-type": "application/json", "cache-control": "no-cache"}
        if key := os.environ.get("LLAVE_API_KEY"):
            headers["authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.url, json.dumps(body).encode(), headers)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with named(self.url, "no answer"), direct.open(request, timeout=SECONDS) as response:
                found = json.load(response)
                return Hits(map(_hit, found["results"]), times=found["stages"])
        except DataError:
            return None  # refused, busy, gone meanwhile, or of another version: the caller opens the index


def _hit(item: Mapping[str, Any]) -> Hit:
    score = math.nan if item["score"] is None else item["score"]
    return Hit(
        item["id"],
        score,
        item["kind"],
        item["text"],
        item["path"],
        item["fields"],
        item["seen"],
        item["scores"],
        item["ranks"],
    )


@contextlib.contextmanager
def announced(index: Location, server: IndexServer) -> Iterator[None]:
    """Within it, the index is found at that server. Another one of the same index that came before stays the one."""
    with contextlib.ExitStack() as held:
        try:
            with named(str(index), "cannot be announced"):
                file = _file(index)
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                held.enter_context(FileLock(file.with_suffix(".lock"), timeout=1, thread_local=False))
                held.callback(file.unlink, missing_ok=True)
                write_json(file, {"url": server.url, "rerank": server.rerank})
        except DataError:  # a read-only disk, no home, another server: only slower searches
            held.close()
        yield


def find_server(index: Location) -> IndexServer | None:
    """The server that has an index open, if this user runs one on this machine."""
    try:
        with named(str(index), "cannot be looked up"):
            file = _file(index)
            if not file.is_file():
                return None
            with contextlib.suppress(Timeout), FileLock(file.with_suffix(".lock"), timeout=0):
                file.unlink(missing_ok=True)  # nobody holds it: its server has gone
                return None
            said = json.loads(file.read_text("utf-8"))
            return IndexServer(str(said["url"]), str(said["rerank"]))
    except DataError:
        return None


def _file(index: Location) -> Path:
    name = hashlib.sha256(str(index.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return state_directory() / FOLDER / f"{name}.json"
