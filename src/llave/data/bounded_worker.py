"""The process at the other end of :mod:`llave.data.bounded`: answers one call after another until its socket closes."""

import os
import pickle
import resource
import select
import signal
import sys
import threading
import warnings
from multiprocessing.connection import Connection

from llave.data.door import named

__all__ = ["end_with_parent", "main"]

GRACE = 5.0
"""Seconds after which the kernel ends us where nobody is left to do it."""


def main() -> None:
    """``sys.argv``: the descriptors of our socket and of the file for answers, and bytes of address space."""
    descriptor, answers, memory = (int(argument) for argument in sys.argv[1:4])
    if sys.platform == "linux":  # elsewhere it cannot be set
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for ignored in (signal.SIGINT, signal.SIGTERM):  # meant for the parent, whose end is ours
        signal.signal(ignored, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    threading.Thread(target=end_with_parent, args=(descriptor,), daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # libtiff writes a line there for every bad tag
    connection = Connection(descriptor)
    connection.send_bytes(b"ready")
    while True:
        try:
            call = connection.recv_bytes()
        except EOFError:
            return
        answer = _answer(call)
        with os.fdopen(answers, "wb", closefd=False) as file:
            file.seek(0)
            file.write(answer)
        connection.send_bytes(str(len(answer)).encode())


def _answer(call: bytes) -> bytes:
    function, args, seconds, name = pickle.loads(call)
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE)
    try:
        with named(name):
            return pickle.dumps((True, function(*args)), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        return pickle.dumps((False, error))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def end_with_parent(descriptor: int) -> None:
    """Wait, in a thread, until nobody has the other end of our socket; then end this process, whatever it does."""
    hung_up = select.poll()
    hung_up.register(descriptor, 0)
    hung_up.poll()
    os._exit(0)
