"""What this user has named: the addresses that get his key, and the folders whose files are given out.

An index says itself where its vectors and its files are, and may be anybody's. So llave goes by it only where the user
has named the place: ``llave index`` remembers, in ``named.json`` of his own folder of state and by the index's path,
which sources he indexed and at which address of a Qdrant server. A copied or foreign index can be searched; its files
are not given out, and its server is not spoken to, before the user has said so.
"""

import ipaddress
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock

from llave.data.door import named, reason_of
from llave.data.pages import split_page
from llave.errors import UserError
from llave.files import write_json
from llave.search.addresses import POSTGRES_NAMES, is_postgres, named_postgres
from llave.search.sources import Source, root_of
from llave.search.store import Row
from llave.storage.client import StorageError
from llave.storage.location import Location, ObjectPath, is_address, is_below, location

__all__ = [
    "Withheld",
    "allowed_model",
    "check_address",
    "file_of",
    "is_loopback",
    "named_roots",
    "qdrant_key",
    "remember",
    "seems_there",
    "state_directory",
]

FILE = "named.json"
MOST = 1000
"""Indexes that are remembered, before those whose folder is gone are forgotten."""
ADDRESSES = ("LLAVE_QDRANT", "QDRANT_URL")
"""Variables by which a user names a server."""


class Withheld(UserError):
    """A file of a source that this user has not named."""


def state_directory() -> Path:
    """``$LLAVE_HOME``, else ``$XDG_STATE_HOME/llave``, else ``~/.local/state/llave``."""
    if home := os.environ.get("LLAVE_HOME"):
        return Path(home)
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "llave"


def remember(index: Location, store: str, roots: Mapping[str, Location], *, model: str | None = None) -> str | None:
    """The user has named these for an index; None, or why it cannot be remembered.

    Args:
        index: its folder.
        store: where its vectors are.
        roots: folder of the files of each source, by the source's path; takes the place of those before.
        model: as he named it; None is as before.
    """
    try:
        file = state_directory() / FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            kept = _read()
            if len(kept) >= MOST:  # a disk may only be away
                kept = {path: about for path, about in kept.items() if is_address(path) or Path(path).is_dir()}
            model = model or kept.get(_name(index), {}).get("model")
            now: dict[str, Any] = {"store": store, "sources": {path: str(root) for path, root in roots.items()}}
            now |= {"model": model} if is_address(model) else {}
            if kept.get(_name(index)) != now:
                write_json(file, {**kept, _name(index): now})
    except (OSError, RuntimeError) as error:  # a read-only disk, no home
        return reason_of(error)
    return None


def named_roots(index: Location) -> dict[str, Location]:
    """Folders below which the user has indexed files into this index, by source."""
    sources = _read().get(_name(index), {}).get("sources", {})
    return {path: location(root) for path, root in sources.items()}


def allowed_model(index: Location, name: str) -> str:
    """The name of a model as an index says it, unless that is an address in object storage that this user has not named
    for the index.

    Raises:
        UserError: it is one.
    """
    if is_address(name) and _read().get(_name(index), {}).get("model") != name:
        raise UserError(
            f"{index}: names the model {name!r:.200}, which you have not named on this machine, so that it is not "
            "fetched; if you trust that address, say it (--model, --rerank)"
        )
    return name


def seems_there(index: Location, source: Source) -> bool:
    """Whether a source is where it was. One in object storage that this user has not named is not asked, since an index
    may be anybody's; it counts as there, as one that cannot be reached does.
    """
    if is_address(source.path) and source.path not in named_roots(index):
        return True
    try:
        return source.there
    except StorageError:
        return True


def file_of(row: Row, allowed: Iterable[Location]) -> Path | None:
    """The file of an item; None where there is none below its source, links followed. One in object storage is fetched.

    Args:
        allowed: folders whose files may be given out.

    Raises:
        Withheld: it lies in none of them.
        UserError: it is in object storage, and cannot be read.
    """
    if not row.file:
        return None
    root = root_of(row.source)
    name = split_page(Path(row.file))[0]
    path = (root / name.as_posix()).resolve()
    if not is_below(path, root) or (isinstance(path, ObjectPath) and ".." in name.parts):
        return None
    if not any(is_below(path, each) for each in allowed):
        raise Withheld(
            f"{row.source}: you have not indexed it into this index on this machine, so that its files are not given "
            "out; say --allow_sources if they may be (in Python, allow_sources=)"
        )
    if isinstance(path, ObjectPath):
        from llave.data.fetched import fetched_file

        return fetched_file(path)
    return path if path.is_file() else None


def check_address(address: str, *, index: Location, name: str | None = None) -> None:
    """Refuse to speak to a server that only the index names.

    Args:
        address: of the server.
        index: folder of the index, for the message.
        name: what the user says.

    Raises:
        UserError: the user has not named it.
    """
    by_index = [about.get("store") for about in _read().values()]
    by_user = [name, *by_index, *(os.environ.get(each) for each in ADDRESSES), *named_postgres()]
    if address.rstrip("/") not in {str(each).rstrip("/") for each in by_user if each}:
        variable = POSTGRES_NAMES[0] if is_postgres(address) else ADDRESSES[0]
        raise UserError(
            f"{index}: says that its vectors are at {address!r:.200}, which you have not named on this machine, so "
            f"nothing is sent there; if you trust that server, set {variable}={address!r:.200}"
        )


def qdrant_key(address: str) -> str | None:
    """``$QDRANT_API_KEY``, for an address that the user has named.

    Raises:
        UserError: everybody on the way could read it.
    """
    key = os.environ.get("QDRANT_API_KEY") or None
    if key is not None and urlsplit(address).scheme == "http" and not is_loopback(urlsplit(address).hostname or ""):
        raise UserError(
            f"{address}: QDRANT_API_KEY would travel in clear text; use https, or unset it if that server needs none"
        )
    return key


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name(index: Location) -> str:
    return str(index.resolve())


def _read() -> dict[str, dict[str, Any]]:
    file = state_directory() / FILE
    if not file.is_file():
        return {}
    with named(str(file), "damaged; remove it, and index again"):
        loaded: dict[str, dict[str, Any]] = json.loads(file.read_text("utf-8"))
        return {str(path): {**about} for path, about in loaded.items()}
