"""Buckets of every kind: one client for each, one line for whatever goes wrong, and more tries where more may help."""

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from llave.errors import UserError
from llave.storage.amazon import Amazon
from llave.storage.azure import Azure
from llave.storage.google import Google
from llave.storage.service import RETRIES, Service

if TYPE_CHECKING:
    from llave.storage.service import Store

__all__ = ["SERVICES", "Cut", "Otherwise", "StorageError", "again", "bucket", "remote"]

Result = TypeVar("Result")
SERVICES: dict[str, Service] = {"s3": Amazon(), "gs": Google(), "az": Azure()}
"""By what their addresses begin with."""
CUT = "response body"
"""What the client says where the end of an answer is missing."""
NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
MOST = 200
"""Characters of what a server says."""


def bucket(scheme: str, name: str) -> "Store":
    """The client of a bucket; one for each, as long as the environment says the same. It may be asked from any thread,
    and after a fork.

    Raises:
        UserError: no credentials, an endpoint in clear text that the user has not allowed, or no package for it.
    """
    begin = SERVICES[scheme].variables
    environment = tuple(sorted(pair for pair in os.environ.items() if pair[0].startswith(begin)))
    return _bucket(scheme, name, environment, _forked)


def _after_fork() -> None:
    """In a forked child: a client that is there has no threads, and its buckets are read through another process."""
    global _forked
    _forked = _forked or _bucket.cache_info().currsize > 0
    _bucket.cache_clear()


_forked = False
os.register_at_fork(after_in_child=_after_fork)


@functools.lru_cache(maxsize=16)
def _bucket(scheme: str, name: str, environment: tuple[tuple[str, str], ...], forked: bool) -> "Store":
    with remote(f"{scheme}://{name}"):
        if forked:
            from llave.storage.forked import forked_store

            return forked_store(scheme, name)
        service = SERVICES[scheme]
        try:
            return service.store(name)
        except ImportError as error:
            raise UserError(
                f"{scheme}://{name}: needs the package {error.name}: pip install 'llave[{service.extra}]'"
            ) from None


class StorageError(UserError):
    """What object storage has refused, or not answered."""


class Cut(StorageError):
    """An answer that ended before it was whole; the next one may be whole."""


class Otherwise(OSError):
    """An object is not what a conditional request said of it."""


def again(work: Callable[[], Result]) -> Result:
    """What the work comes to; a few more tries where an answer is cut off, which the client leaves to us."""
    for _ in range(RETRIES):
        with suppress(Cut):
            return work()
    return work()


@contextmanager
def remote(name: str) -> Iterator[None]:
    """Whatever object storage raises within becomes one line about ``name``. That an object is not there, or not as it
    was said to be, is an answer and passes.

    Raises:
        StorageError: what went wrong, and the way out where it is known.
        FileNotFoundError: no such object.
        Otherwise: there is one where none was to be, or another one.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        client = sys.modules.get("obstore.exceptions")  # LanceDB has errors of its own
        if client is not None and isinstance(error, client.AlreadyExistsError | client.PreconditionError):
            raise Otherwise(name) from None
        said = str(error)
        if any(sign in said for sign in NO_BUCKET):
            raise StorageError(f"{name}: no such bucket{_where(name)}") from None
        if isinstance(error, FileNotFoundError):
            raise
        kind = Cut if CUT in said else StorageError
        raise kind(f"{name}: {_reason(name, said) or type(error).__name__}") from None


def _reason(name: str, said: str) -> str:
    """What a client or server says, in short."""
    service = SERVICES.get(name.partition("://")[0])
    where, right = _where(name), f", and is {service.endpoint_variable} right" if service else ""
    for sign, reason in (
        ("InvalidAccessKeyId", "the access key is not known"),
        ("SignatureDoesNotMatch", "the secret key is not that of the access key"),
        ("ExpiredToken", "the credentials have expired; sign in again"),
        ("token request", f"no credentials; {service.sign_in}" if service else "no credentials"),
        ("AuthenticationFailed", "access denied; the account's key or token is not right"),
        ("401 Unauthorized", "access denied; the credentials are not known there"),
        ("403 Forbidden", "access denied; these credentials may not do that there"),
        ("AccessDenied", "access denied; these credentials may not do that there"),
        ("503", "the server is busy (503) and stayed so; the same command goes on later"),
        ("error sending request", f"cannot be reached; is there a network{right}?"),
        (CUT, "the connection was cut; the same command goes on"),
        ("timed out", "no answer in time; the same command goes on later"),
    ):
        if sign in said:
            return f"{reason}{where}"
    line = next((line.strip()[:MOST] for line in said.split("\n") if line.strip()), "")
    return f"{line}; rename or remove it" if "invalid path" in line else line


def _where(name: str) -> str:
    """A server that is not the provider's own."""
    service = SERVICES.get(name.partition("://")[0])
    with suppress(UserError):  # which is said where it matters
        if service is not None and (place := service.endpoint()) is not None:
            return f" (at {place})"
    return ""
