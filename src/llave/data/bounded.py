"""Calls that are given up when they take too long or too much: a few processes that can be killed.

Decoders are written in C and cannot be interrupted; a file of 2 kB can keep one busy for ever, or crash it. So what may
be slow runs in a small process of its own (:mod:`llave.data.bounded_worker`: neither torch nor the caller's script in
it). One that is past its deadline or beyond its memory is killed, another takes its place, and one item is lost.

Processes start when they are first needed. They end with this one, however it ends: their socket closes. A forked child
starts its own.
"""

import atexit
import contextlib
import mmap
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import IO, Any, TypeVar

from llave.errors import DataError, UserError

__all__ = ["MAX_WORKERS", "end_workers", "run_bounded"]

MAX_WORKERS = max(2, min(4, os.cpu_count() or 1))
MEMORY = 6 * 1024**3
"""Bytes of address space of a process: 180 million pixels in RGBA, and what turning them into RGB takes."""
KEPT = 16 * 1024**2
"""Bytes of that memory which a process keeps between its answers."""
T = TypeVar("T")


def run_bounded(function: Callable[..., T], *args: Any, seconds: float, name: str) -> T:
    """``function(*args)`` in another process; safe to call from threads, which wait for a free one.

    Args:
        function: of a module that is quick to import; it is sent by its name.
        args: what pickle can send; paths are from the folder that this process is in now.
        seconds: from the start of its work, not counting the wait.
        name: of the file, for the message.

    Raises:
        DataError: it took too long or too much memory, ended its process, or raised an error of its own.
        UserError: it raised one.
    """
    # A process stays in the folder that it was started in, whatever folder we are in by now.
    sent = [arg.absolute() if isinstance(arg, Path) else arg for arg in args]
    call = pickle.dumps((function, sent, seconds, name))
    with _POOL.worker() as worker:
        done, result = worker.run(call, seconds, name)
    if not done:
        raise result
    return result  # type: ignore[no-any-return]


def end_workers() -> None:
    """Kill all of them, whatever they do: who waits for one gets a DataError. The next call starts new ones."""
    _POOL.close()


class _Worker:
    """One process, our end of its socket, and the memory in which its answers come.

    A page of 6 MB through a socket would take the two processes some thirty turns.
    """

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        self._answers = _nameless_file()
        start = f"import sys; sys.path[:] = {sys.path!r}; from llave.data.bounded_worker import main; main()"
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", start, str(theirs.fileno()), str(self._answers.fileno()), str(MEMORY)],
                pass_fds=[theirs.fileno(), self._answers.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        try:
            self._connection.recv_bytes()  # it is there; what it is asked for is not charged with its start
        except EOFError:
            raise UserError(f"cannot start {sys.executable} to decode in (exit {self._process.wait()})") from None

    def run(self, call: bytes, seconds: float, name: str) -> tuple[bool, Any]:
        """Whether the function returned, and what it returned or raised."""
        try:
            self._connection.send_bytes(call)
            if not self._connection.poll(seconds):
                raise DataError(f"{name}: more than {seconds:g} s of decoding, the limit")
            size = int(self._connection.recv_bytes())
        except (EOFError, OSError):
            code = self._process.wait()
            raise DataError(f"{name}: its decoder ended the process (exit {code}); replace the file") from None
        with mmap.mmap(self._answers.fileno(), size) as answer:
            result = pickle.loads(answer)  # of our own process
        self._answers.truncate(min(size, KEPT))
        return result  # type: ignore[no-any-return]

    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self._connection.close()
        self._answers.close()


def _nameless_file() -> IO[bytes]:
    """In memory on Linux, where it does not count against a container's small /dev/shm."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("llave-answers"), "w+b")
    return tempfile.TemporaryFile(prefix="llave-")  # closed with its worker


class _Pool:
    """The processes; the one that was used last goes first, as it has the document still open."""

    def __init__(self) -> None:
        self._room = threading.Semaphore(MAX_WORKERS)
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()

    @contextlib.contextmanager
    def worker(self) -> Iterator[_Worker]:
        """One for the caller alone; killed if the block ends in an error."""
        with self._room:
            worker = self._take()
            try:
                yield worker
            except BaseException:
                self._drop(worker)
                raise
            with self._lock:
                self._idle.append(worker)

    def close(self) -> None:
        with self._lock:
            for worker in self._all:
                worker.kill()

    def forget(self) -> None:
        """In a forked child: the processes are the parent's."""
        for worker in self._all:
            worker.close()

    def _take(self) -> _Worker:
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                worker = _Worker()
                with self._lock:
                    self._all.add(worker)
                return worker
            if worker.alive():
                return worker
            self._drop(worker)

    def _drop(self, worker: _Worker) -> None:
        worker.kill()
        worker.close()
        with self._lock:
            self._all.discard(worker)


_POOL = _Pool()


def _after_fork() -> None:
    global _POOL
    _POOL.forget()
    _POOL = _Pool()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(end_workers)
