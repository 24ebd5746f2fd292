"""A bucket, read by a process that was forked from one that had opened it: the threads of obstore's client do not
survive that, and every question would wait for ever. So it asks a process of its own, which was not forked, and which
ends when the forked one does.

Run: ``python -m llave.storage.forked FOLDER`` answers at a socket in that folder until its standard input ends.
"""

import builtins
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from llave.storage.service import Store

__all__ = ["forked_store"]

SOCKET = "socket"
KEY_BYTES = 32


def forked_store(scheme: str, name: str) -> "Store":
    """What of a bucket's client answers to ``head``, ``get`` and ``list``; it is for reading alone, from any thread."""
    return cast("Store", _Store(scheme, name))


class _Store:
    """Answers as obstore's does."""

    def __init__(self, scheme: str, name: str) -> None:
        self._bucket = scheme, name

    def head(self, key: str) -> Any:
        return self._ask("head", key)

    def get(self, key: str, *, options: dict[str, Any] | None = None) -> "_Body":
        return _Body(self._ask("get", key, options=options))

    def list(self, prefix: str | None, *, offset: str | None = None) -> Iterator[Any]:
        with _connection() as asked:  # one of its own: others may ask while a list is read
            asked.send((self._bucket, "list", (prefix,), {"offset": offset}))
            while (batch := _answer(asked)) is not None:
                yield batch

    def _ask(self, what: str, *words: Any, **options: Any) -> Any:
        try:
            asked = _MINE.connection
        except AttributeError:
            asked = _MINE.connection = _connection()
        asked.send((self._bucket, what, words, options))
        return _answer(asked)


class _Body:
    def __init__(self, content: builtins.bytes) -> None:
        self._content = content

    def bytes(self) -> builtins.bytes:
        return self._content

    def __iter__(self) -> "Iterator[builtins.bytes]":
        yield self._content


class _Answers:
    """The process that is asked; of this one and no other, so that a fork of it starts another."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="llave-bucket-")  # which that process removes
        self.key = secrets.token_bytes(KEY_BYTES)
        words = [sys.executable, "-P", "-m", "llave.storage.forked", self.folder]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(self.key)
        self.process.stdin.flush()
        if self.process.stdout.readline() != b"ready\n":
            raise OSError(f"the process that reads buckets did not start (exit code {self.process.wait()})")


_MINE = threading.local()
_STARTING = threading.Lock()
_answers: _Answers | None = None


def _forget() -> None:
    """After another fork: the process that answers is the parent's, and so are the connections."""
    global _MINE, _STARTING, _answers
    _MINE, _STARTING, _answers = threading.local(), threading.Lock(), None


os.register_at_fork(after_in_child=_forget)


def _connection() -> Connection:
    global _answers
    with _STARTING:
        if _answers is None:
            _answers = _Answers()
    return Client(str(Path(_answers.folder) / SOCKET), authkey=_answers.key)


def _answer(asked: Connection) -> Any:
    """
    Raises:
        FileNotFoundError: no such object.
        PreconditionError: another one.
        OSError: anything else, in the client's words.
    """
    from obstore.exceptions import PreconditionError

    try:
        kind, found = asked.recv()
    except EOFError:
        raise OSError("the process that reads buckets has ended") from None
    if kind == "error":
        name, said = found
        raise {"FileNotFoundError": FileNotFoundError, "PreconditionError": PreconditionError}.get(name, OSError)(said)
    return found


def _serve(folder: str) -> None:
    key = sys.stdin.buffer.read(KEY_BYTES)
    with Listener(str(Path(folder) / SOCKET), authkey=key) as listener:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        sys.stdin.buffer.read()
    shutil.rmtree(folder)
    os._exit(0)  # whatever is still asked


def _accept(listener: Listener) -> None:
    while True:
        threading.Thread(target=_answer_each, args=(listener.accept(),), daemon=True).start()


def _answer_each(asked: Connection) -> None:
    """Until whoever asks has hung up."""
    with asked, suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            of, what, words, options = asked.recv()
            for answer in _answers_to(of, what, words, options):
                asked.send(answer)


def _answers_to(of: tuple[str, str], what: str, words: Any, options: Any) -> Iterator[tuple[str, Any]]:
    from llave.storage.client import bucket

    try:
        found = getattr(bucket(*of), what)(*words, **options)
        if what == "list":
            yield from (("found", list(batch)) for batch in found)
            found = None  # its end
        yield "found", bytes(found.bytes()) if what == "get" else found
    except Exception as error:  # whatever the client raises, for the one who asked
        yield "error", (type(error).__name__, str(error))


if __name__ == "__main__":
    _serve(sys.argv[1])
