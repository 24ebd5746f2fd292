"""Addresses of PostgreSQL servers, with and without what is secret in them."""

import contextlib
import os
from urllib.parse import unquote, urlsplit

from llave.errors import UserError

__all__ = ["POSTGRES_NAMES", "is_postgres", "name_postgres", "named_postgres", "postgres_address", "postgres_secret"]

SCHEMES = ("postgresql", "postgres")
SECRETS = ("password", "sslpassword", "oauth_client_secret")
"""Of the parameters of an address."""
POSTGRES_NAMES = ("LLAVE_POSTGRES", "DATABASE_URL")
"""Variables by which a user names a server, and may give its password."""

_said: dict[str, str] = {}
"""Addresses that the user has said to this process, with their passwords, by the same without."""


def is_postgres(address: str) -> bool:
    """Whether it is one of PostgreSQL."""
    return address.partition("://")[0] in SCHEMES


def postgres_address(url: str) -> str:
    """An address as it may be kept and shown: without passwords.

    Raises:
        UserError: no address of PostgreSQL, or none of which it is certain what its password is.
    """
    if not is_postgres(url):
        raise UserError("--postgres: an address such as postgresql://user@host/database")
    _, netloc, path, query, fragment = urlsplit(url)
    user, at, host = netloc.rpartition("@")
    if "@" in user or "@" in f"{path}{query}" or fragment:
        raise UserError(
            "--postgres: it is not certain where the password ends; write @ / ? # within it as %40 %2F %3F %23, or "
            "leave it out and export PGPASSWORD"
        )
    kept = "&".join(part for part in query.split("&") if unquote(part.partition("=")[0]) not in SECRETS)
    name = user.partition(":")[0]
    return f"{SCHEMES[0]}://{name}{at}{host}{path.rstrip('/')}{'?' if kept else ''}{kept}"


def name_postgres(url: str) -> str:
    """The user has said this address: it is spoken to from now on, with the password in it; the address without."""
    address = postgres_address(url)
    _said[address] = url
    return address


def named_postgres() -> dict[str, str]:
    """Every address that the user has named to this process, as he did, by the same without passwords."""
    found = {}
    for name in reversed(POSTGRES_NAMES):
        url = os.environ.get(name) or ""
        with contextlib.suppress(UserError):  # of another program, maybe
            found[postgres_address(url)] = url
    return {**found, **_said}


def postgres_secret(address: str) -> str:
    """The address with the password that the user has said; without one, PostgreSQL's own ways are left: ``PGPASSWORD``
    and ``~/.pgpass``."""
    return named_postgres().get(address, address)
