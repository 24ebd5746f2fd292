"""The process at the other end of :mod:`llave.serving.replica`: loads the models, and answers one batch after another
until its socket closes."""

import gc
import logging
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llave.data.bounded_worker import end_with_parent
from llave.data.door import reason_of
from llave.errors import UserError
from llave.serving.allocator import KEPT, give_back_memory, keep_freed_memory, resident_memory

if TYPE_CHECKING:
    from llave.serving.app import AnyEngine

__all__ = ["main"]

TIDY_SECONDS = 1.0
FIRST_TO_GO = "500"
"""Where memory runs out, the kernel ends this process rather than the one that has the queue."""
log = logging.getLogger("llave.serving")


def main() -> None:
    """``sys.argv``: the descriptor of our socket, and our number."""
    descriptor, number = int(sys.argv[1]), sys.argv[2]
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # meant for the parent, whose end is ours
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=end_with_parent, args=(descriptor,), daemon=True).start()
    with suppress(OSError):  # no Linux, or not allowed
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)
    keep_freed_memory()
    logging.basicConfig(format=f"llave: replica {number}: %(levelname)s %(message)s", level=logging.WARNING)
    connection = Connection(descriptor)
    with suppress(EOFError, OSError):  # the parent has ended
        works = _load(connection)
        while works:
            _answer(connection, works)


def _load(connection: Connection) -> "Sequence[Callable[..., Any]]":
    """What runs the batches of each model; nothing if they cannot be loaded."""
    load: Callable[[], Sequence[AnyEngine]] = connection.recv()
    try:
        engines = load()
        profiles = [engine.profile() for engine in engines]
    except UserError as error:
        connection.send(UserError(str(error)))
        return ()
    except Exception as error:
        log.exception("the model cannot be loaded")
        connection.send(UserError(f"the model cannot be loaded ({reason_of(error)})"))
        return ()
    gc.collect()
    gc.freeze()  # the model and the libraries stay: no later collection has to look through them
    connection.send(profiles)
    return [engine.work for engine in engines]


def _answer(connection: Connection, works: Sequence[Callable[..., Any]]) -> None:
    """One batch: the results, or the error that the model raised."""
    place, modality, prompt, inputs = connection.recv()
    try:
        answer = works[place](modality, prompt, inputs)
    except Exception as error:
        log.exception("a batch failed")
        answer = RuntimeError(reason_of(error))
    connection.send_bytes(pickle.dumps(answer, pickle.HIGHEST_PROTOCOL))
    del inputs, answer
    _tidy()


_tidied: dict[str, float] = {"at": 0.0, "least": 0.0}


def _tidy() -> None:
    """Bound the freed memory that is kept, as one process does between its batches."""
    if time.monotonic() > _tidied["at"] + TIDY_SECONDS:
        _tidied["at"], resident = time.monotonic(), resident_memory()
        if not _tidied["least"]:
            _tidied["least"] = resident
        elif resident > _tidied["least"] + KEPT:
            _tidied["least"] = give_back_memory()
