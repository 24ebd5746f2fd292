"""What the three kinds of object storage that llave speaks have in common, and in what each is asked in its own way."""

import os
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from llave.errors import UserError

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

    Store = S3Store | GCSStore | AzureStore

__all__ = ["Service", "checked_endpoint", "first", "lance_patience", "patience", "says"]

RETRIES = 4
CONNECT, READ, WHOLE = timedelta(seconds=5), timedelta(seconds=30), timedelta(hours=1)
RETRY_SECONDS = 30
"""From the first try of a request, no other one is begun after this time."""
TRUE = ("1", "true", "yes", "on")


class Service(Protocol):
    """One kind of object storage.

    Attributes:
        extra: of ``pip install 'llave[…]'``.
        variables: with what the names of the environment's variables begin that say who asks, and whom.
        endpoint_variable: the one that names a server that is not the provider's own.
        sign_in: what to do where there are no credentials.
        by_version: whether a conditional write names an object's version, and not its tag.
    """

    extra: str
    variables: tuple[str, ...]
    endpoint_variable: str
    sign_in: str
    by_version: bool

    def endpoint(self) -> str | None:
        """Of a server that is not the provider's own.

        Raises:
            UserError: in clear text, which the user has not allowed.
        """

    def store(self, name: str) -> "Store":
        """The client of a bucket.

        Raises:
            UserError: no credentials, an endpoint that is not allowed, or no package for it.
        """

    def lance_options(self) -> dict[str, str]:
        """LanceDB's storage options: the same place. It finds credentials itself, where we do.

        Raises:
            UserError: an endpoint that is not allowed, or settings that are missing.
        """


def patience(*, allow_http: bool) -> dict[str, Any]:
    """A client's options: every question ends within a minute, answered or refused."""
    return {
        "client_options": {
            "connect_timeout": CONNECT, "read_timeout": READ, "timeout": WHOLE, "allow_http": allow_http,
        },
        "retry_config": {
            "max_retries": RETRIES,
            "retry_timeout": timedelta(seconds=RETRY_SECONDS),
            "backoff": {
                "init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=5), "base": 2,
            },
        },
    }  # fmt: skip


def lance_patience(*, allow_http: bool) -> dict[str, str]:
    """The same, for LanceDB."""
    return {
        "connect_timeout": f"{CONNECT.seconds}s",
        "timeout": f"{2 * READ.seconds}s",
        "client_max_retries": str(RETRIES),
        "client_retry_timeout": str(RETRY_SECONDS),
        "allow_http": "true" if allow_http else "false",
    }


def checked_endpoint(place: str | None, allow: str) -> str | None:
    """An endpoint, if what passes to it cannot be read on the way, or the user does not mind.

    Args:
        allow: variable that says so.

    Raises:
        UserError: in clear text, which the user has not allowed.
    """
    if place is not None and place.startswith("http://") and not says(allow):
        raise UserError(
            f"{place}: everybody on the way could read and change what passes; use https, or set "
            f"{allow}=true for a server of your own"
        )
    return place


def first(names: Iterable[str]) -> str | None:
    """The first of these variables that is set."""
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def says(name: str) -> bool:
    """Whether a variable is set to yes."""
    return os.environ.get(name, "").lower() in TRUE
