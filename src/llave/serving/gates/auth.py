"""API keys: every route but the health checks and the page's own files asks for one, if there are any."""

import hashlib
import hmac
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from llave.errors import UserError
from llave.serving.errors import ApiError

__all__ = ["KeyGate", "Keys", "others_may", "read_keys"]

ENVIRONMENT = "LLAVE_API_KEY"
MIN_LENGTH = 16


class Keys:
    """Keys that are allowed, as hashes: neither time nor a dump of the memory tells them."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def allow(self, given: bytes) -> bool:
        """Whether a key is one of them; takes as long whichever it is."""
        digest = _digest(given)
        found = False
        for known in self._digests:
            found |= hmac.compare_digest(digest, known)
        return found


def read_keys(file: Path | None) -> Keys:
    """Keys of a file, one a line, and of the environment variable ``LLAVE_API_KEY``.

    Raises:
        UserError: no such file, or a key that could be guessed.
    """
    keys = [os.environ[ENVIRONMENT]] if os.environ.get(ENVIRONMENT) else []
    if file is not None:
        try:
            lines = [line.strip() for line in file.read_text("utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"api_keys_file: {file} cannot be read ({error})") from None
        found = [line for line in lines if line and not line.startswith("#")]
        if not found:
            raise UserError(f"api_keys_file: {file} holds no key; write one a line")
        keys += found
    if any(len(key) < MIN_LENGTH or not key.isascii() or not key.isprintable() for key in keys):
        raise UserError(f"an API key needs at least {MIN_LENGTH} characters of ASCII; make one: openssl rand -hex 32")
    return Keys(keys)


def others_may(file: Path) -> str:
    """What other users of this machine may do with a file of keys, ``"read and write"`` say; ``""``: nothing, or it
    cannot be told."""
    if os.name != "posix":
        return ""
    mode = file.stat().st_mode
    return " and ".join(
        word
        for word, bits in (("read", stat.S_IRGRP | stat.S_IROTH), ("write", stat.S_IWGRP | stat.S_IWOTH))
        if mode & bits
    )


class KeyGate:
    """Asks for ``Authorization: Bearer KEY``.

    Args:
        open_paths: need no key; every other one does, whether there is such a route or not.
    """

    def __init__(self, app: ASGIApp, keys: Keys, open_paths: frozenset[str]) -> None:
        self._app = app
        self._keys = keys
        self._open = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._open and not self._allowed(scope):
            error = ApiError(401, "a valid API key is needed: Authorization: Bearer KEY")
            await error.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _allowed(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            return False
        scheme, _, key = given[0].partition(b" ")
        return scheme.lower() == b"bearer" and self._keys.allow(key.strip())


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
