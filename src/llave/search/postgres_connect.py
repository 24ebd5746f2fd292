"""Connections to a PostgreSQL server, and what its errors become: an outage is waited for, others are one line."""

import contextlib
import time
from collections.abc import Callable
from queue import Empty, LifoQueue
from typing import Any, TypeVar

import numpy as np
import psycopg
from psycopg import Connection, Cursor
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from llave.data.door import reason_of
from llave.errors import UserError
from llave.search.addresses import postgres_secret
from llave.search.postgres_rows import VectorDumper
from llave.search.trust import is_loopback

__all__ = ["Database"]

Result = TypeVar("Result")
WAITS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each new try: a server that is started anew is back by then."""
PASSING = ("08", "40", "57")
"""Classes of SQLSTATE: the connection, a conflict of transactions, an administrator's stop."""
IDLE = 8
"""Connections that are kept for the next call."""
DEFAULTS: dict[str, Any] = {
    "application_name": "llave",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""Else a machine that has gone without a word is waited for by the hour."""
ENCRYPTED = ("require", "verify-ca", "verify-full")
CAN_REFUSE = 160_000
"""The version of libpq from which on it can be told how a password may travel."""


class Database:
    """A server that transactions are run on. Safe to call from several threads, each with a connection of its own.

    Args:
        address: without a password; see :mod:`llave.search.addresses`.

    Raises:
        UserError: it cannot be read.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._conninfo = _conninfo(address)
        self._idle: LifoQueue[Connection[Any]] = LifoQueue(IDLE)
        self._met = False

    def run(self, work: Callable[[Cursor[Any]], Result]) -> Result:
        """What ``work`` gives back, in one transaction. It is done anew where the connection is lost, also after the
        transaction was committed; doing it twice has to change nothing.

        Raises:
            UserError: no answer for some time, or an error of the server's.
        """
        for wait in (*WAITS, None):
            connection = None
            try:
                connection = self._taken()
                self._met = True
                with connection.transaction(), connection.cursor(binary=True) as cursor:
                    return work(cursor)
            except psycopg.Error as error:
                if wait is None or not self._may_pass(error, connection):
                    raise self._told(error, connection) from None
            finally:
                if connection is not None:
                    self._give_back(connection)
            time.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """Close what is not in use."""
        with contextlib.suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    def _taken(self) -> Connection[Any]:
        with contextlib.suppress(Empty):
            return self._idle.get_nowait()
        # Nothing is prepared: a plan that was made for one filter, or with an index, would be kept for others.
        connection = psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=None)
        connection.adapters.register_dumper(np.ndarray, VectorDumper)
        return connection

    def _give_back(self, connection: Connection[Any]) -> None:
        if connection.broken or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            connection.close()
            self.close()  # those that wait are lost as well
        elif self._idle.full():
            connection.close()
        else:
            self._idle.put(connection)

    def _may_pass(self, error: psycopg.Error, connection: Connection[Any] | None) -> bool:
        if connection is None:
            return self._met  # who has never answered is more likely a wrong address
        return connection.broken or (error.sqlstate or "")[:2] in PASSING

    def _told(self, error: psycopg.Error, connection: Connection[Any] | None) -> UserError:
        reason = reason_of(error)
        if connection is not None and not connection.broken:
            return UserError(f"{self.address}: PostgreSQL says: {reason}")
        if self._met:
            return UserError(
                f"{self.address}: PostgreSQL does not answer any more ({reason}); what was written before stays, and "
                "the same command goes on"
            )
        return UserError(
            f"{self.address}: no PostgreSQL server that answers ({reason}); its password is read from PGPASSWORD, "
            "~/.pgpass, or the address in LLAVE_POSTGRES"
        )


def _conninfo(address: str) -> str:
    """With the password that the user has said, which no message may show: libpq's own quote what they cannot read."""
    said = postgres_secret(address)
    try:
        found = conninfo_to_dict(said)
    except psycopg.Error:
        raise UserError(f"{address}: no address that PostgreSQL's library can read") from None
    options = {name: value for name, value in DEFAULTS.items() if name not in found}
    hosts = str(found.get("host") or found.get("hostaddr") or "localhost").split(",")
    away = not all(host.startswith(("/", "@")) or is_loopback(host) for host in hosts)
    if away and found.get("sslmode") not in ENCRYPTED and psycopg.pq.version() >= CAN_REFUSE:
        options.setdefault("require_auth", found.get("require_auth", "!password"))  # never in clear text
    return make_conninfo(said, **options)
