"""Buckets: who asks is found in the usual places, and every question ends within a minute, answered or refused.

Credentials, region and endpoint come from the environment (``AWS_ACCESS_KEY_ID``, ``AWS_REGION``,
``AWS_ENDPOINT_URL`` …), from the profile (``AWS_PROFILE``, ``~/.aws``) or from the machine's own role, as in any
other tool of S3. Nothing of them is written down or shown.
"""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from llave.errors import UserError

if TYPE_CHECKING:
    from obstore.store import S3Store

__all__ = [
    "Cut",
    "Otherwise",
    "StorageError",
    "again",
    "bucket",
    "endpoint",
    "lance_options",
    "region",
    "remote",
    "says",
]

Result = TypeVar("Result")
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
REGION = "us-east-1"
RETRIES = 4
CONNECT, READ, WHOLE = timedelta(seconds=5), timedelta(seconds=30), timedelta(hours=1)
RETRY_SECONDS = 30
"""From the first try of a request, no other one is begun after this time."""
CUT = "response body"
"""What the client says where the end of an answer is missing."""
MOST = 200
"""Characters of what a server says."""
TRUE = ("1", "true", "yes", "on")


def bucket(name: str) -> "S3Store":
    """The client of a bucket; one for each, as long as the environment says the same. It may be asked from any thread,
    and after a fork.

    Raises:
        UserError: no credentials, an endpoint in clear text that the user has not allowed, or no package for it.
    """
    environment = tuple(sorted(pair for pair in os.environ.items() if pair[0].startswith("AWS_")))
    return _bucket(name, environment, _forked)


def _after_fork() -> None:
    """In a forked child: a client that is there has no threads, and its buckets are read by another one."""
    global _forked
    _forked = _forked or _bucket.cache_info().currsize > 0
    _bucket.cache_clear()


_forked = False
os.register_at_fork(after_in_child=_after_fork)


@functools.lru_cache(maxsize=16)
def _bucket(name: str, environment: tuple[tuple[str, str], ...], forked: bool) -> "S3Store":
    if forked:
        from llave.storage.forked import forked_store

        with remote(f"s3://{name}"):
            return forked_store(name)
    try:
        import botocore.session
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store
    except ImportError:
        raise UserError(f"s3://{name}: needs the packages obstore and boto3: pip install 'llave[s3]'") from None
    place, where = endpoint(), region()
    with remote(f"s3://{name}"):
        session = botocore.session.Session()
        if says("AWS_SKIP_SIGNATURE"):
            provider = None
        elif session.get_credentials() is None:
            raise UserError(
                f"s3://{name}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for a "
                "profile of ~/.aws (AWS_SKIP_SIGNATURE=true for a public bucket)"
            )
        else:
            provider = Boto3CredentialProvider(session)
        return S3Store(
            name,
            region=where,
            config={} if place is None else {"endpoint": place},
            client_options={
                "connect_timeout": CONNECT,
                "read_timeout": READ,
                "timeout": WHOLE,
                "allow_http": says("AWS_ALLOW_HTTP"),
            },
            retry_config={
                "max_retries": RETRIES,
                "retry_timeout": timedelta(seconds=RETRY_SECONDS),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=200),
                    "max_backoff": timedelta(seconds=5),
                    "base": 2,
                },
            },
            credential_provider=provider,
        )


def lance_options() -> dict[str, str]:
    """LanceDB's storage options: the same place with the same patience. It finds credentials itself, where we do.

    Raises:
        UserError: an endpoint in clear text that the user has not allowed.
    """
    place = endpoint()
    options = {
        "region": region(),
        "connect_timeout": f"{CONNECT.seconds}s",
        "timeout": f"{2 * READ.seconds}s",
        "client_max_retries": str(RETRIES),
        "client_retry_timeout": str(RETRY_SECONDS),
    }
    if place is not None:
        options |= {"endpoint": place, "allow_http": "true" if says("AWS_ALLOW_HTTP") else "false"}
    return options


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
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, AlreadyExistsError | PreconditionError):
            raise Otherwise(name) from None
        said = str(error)
        if "NoSuchBucket" in said:
            raise StorageError(f"{name}: no such bucket{_where()}") from None
        if isinstance(error, FileNotFoundError):
            raise
        kind = Cut if CUT in said else StorageError
        raise kind(f"{name}: {_reason(said) or type(error).__name__}") from None


def _reason(said: str) -> str:
    """What a client or server says, in short."""
    for sign, reason in (
        ("InvalidAccessKeyId", "the access key is not known"),
        ("SignatureDoesNotMatch", "the secret key is not that of the access key"),
        ("ExpiredToken", "the credentials have expired; sign in again"),
        ("403 Forbidden", "access denied; these credentials may not do that there"),
        ("AccessDenied", "access denied; these credentials may not do that there"),
        ("503", "the server is busy (503) and stayed so; the same command goes on later"),
        ("error sending request", "cannot be reached; is there a network, and is AWS_ENDPOINT_URL right?"),
        (CUT, "the connection was cut; the same command goes on"),
        ("timed out", "no answer in time; the same command goes on later"),
    ):
        if sign in said:
            return f"{reason}{_where()}"
    line = next((line.strip()[:MOST] for line in said.split("\n") if line.strip()), "")
    return f"{line}; rename or remove it" if "invalid path" in line else line


def _where() -> str:
    endpoint = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), None)
    return "" if endpoint is None else f" (at {endpoint})"


def endpoint() -> str | None:
    """Of a server that is not Amazon's.

    Raises:
        UserError: in clear text, which the user has not allowed.
    """
    place = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), _profile().get("endpoint_url"))
    if place is not None and place.startswith("http://") and not says("AWS_ALLOW_HTTP"):
        raise UserError(
            f"{place}: everybody on the way could read and change what passes; use https, or set "
            "AWS_ALLOW_HTTP=true for a server of your own"
        )
    return place


def region() -> str:
    """Where the user's buckets are."""
    names = ("AWS_REGION", "AWS_DEFAULT_REGION")
    return next((os.environ[name] for name in names if os.environ.get(name)), _profile().get("region") or REGION)


def _profile() -> dict[str, str]:
    """The user's settings in ``~/.aws``, without his keys."""
    import botocore.session

    with remote("the profile of AWS_PROFILE"):
        found = botocore.session.Session().get_scoped_config()
    return {name: found[name] for name in ("region", "endpoint_url") if isinstance(found.get(name), str)}


def says(name: str) -> bool:
    """Whether a variable is set to yes."""
    return os.environ.get(name, "").lower() in TRUE
