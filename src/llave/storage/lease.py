"""One process at a time in object storage, where no kernel keeps a lock: an object that names its holder.

It is made only if there is none, and renewed every few seconds as long as it is held. Whoever finds it waits for a sign
of life: one that is renewed meanwhile is somebody's, and one that is not for :data:`LOST` seconds was left by a process
that was killed, and is taken over, only if it is still the same. Every step is one conditional write, so that of two
who try one is told no; and nobody compares the clocks of two machines, only his own with itself.
"""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from llave.errors import UserError
from llave.storage.held import forget_held, hold
from llave.storage.location import ObjectPath

__all__ = ["LOST", "RENEW", "leased"]

RENEW = 5.0
"""Seconds between two signs of life."""
LOST = 20.0
"""Seconds without one, after which another process may take over."""
POLL = 1.0
log = logging.getLogger("llave.storage")


@contextmanager
def leased(lock: ObjectPath, held: ObjectPath, *, taken: str, wait: bool = False) -> Iterator[None]:
    """Within it, what is at and below ``held`` is written by this process alone.

    Args:
        lock: the object that says so.
        taken: said where another process holds it.
        wait: until that one is done; else only until it is known to be alive.

    Raises:
        UserError: another process holds it; or, from any write within, it has been lost.
    """
    lease = _Lease(lock)
    lease.take(taken, wait)
    thread = threading.Thread(target=lease.renew_again_and_again, name=f"lease of {lock}", daemon=True)
    thread.start()
    hold(str(held), lease.check)
    try:
        yield
        lease.check()
    finally:
        forget_held(str(held))
        lease.end(thread)


class _Lease:
    def __init__(self, lock: ObjectPath) -> None:
        self._lock = lock
        self._about = {"host": socket.gethostname(), "process": os.getpid(), "token": uuid.uuid4().hex}
        self._count = 0
        self._tag: str | None = None
        self._renewed = 0.0
        self._writing = threading.Lock()
        self._ended = threading.Event()

    def take(self, taken: str, wait: bool) -> None:
        """Make it this process's.

        Raises:
            UserError: it is another one's.
        """
        seen: str | None = None
        since = _now()
        told = False
        while not self._put(None):
            found = self._lock.head()
            if found is None:  # given back meanwhile
                continue
            if found.tag != seen and self._is_ours():  # made, though the answer was lost
                self._tag, self._renewed = found.tag, _now()
                return
            if found.tag != seen:
                if seen is not None and not wait:
                    raise UserError(f"{taken} ({self._holder()})")
                seen, since = found.tag, _now()
            elif _now() - since > LOST:
                if self._put(seen):
                    log.warning("%s: the process that held it gave no sign of life; it goes on here", self._lock)
                    return
                continue
            elif not told and _now() - since > POLL:
                log.warning("%s: held by %s; waiting up to %d s for a sign of life", self._lock, self._holder(), LOST)
                told = True
            time.sleep(POLL)

    def check(self) -> None:
        """Before a write. What has not been renewed in time is renewed now, if it is still ours.

        Raises:
            UserError: another process has taken over.
        """
        with self._writing:
            if self._tag is not None and _now() - self._renewed > 2 * RENEW:
                self._renew()
            if self._tag is None:
                raise UserError(
                    f"{self._lock.parent}: this process gave no sign of life for more than {LOST:.0f} s, and another "
                    "one writes there now; nothing more is written from here. What was written before stays, and the "
                    "same command goes on later"
                )

    def renew_again_and_again(self) -> None:
        """In a thread. One that cannot be renewed for want of a network is tried again; :meth:`check` decides."""
        while not self._ended.wait(RENEW):
            with self._writing:
                try:
                    if self._tag is not None:
                        self._renew()
                except UserError as error:
                    log.warning("%s: cannot be renewed (%s)", self._lock, error)

    def end(self, thread: threading.Thread) -> None:
        """Give it back, if it is still ours: emptied first, so that one who took over between keeps his."""
        self._ended.set()
        thread.join()
        if self._tag is None:
            return
        try:
            if self._lock.put_if(b"{}", self._tag) is not None:
                self._lock.unlink()
        except UserError as error:  # it ends by itself, and what was to be said has been said
            log.warning("%s: cannot be given back (%s)", self._lock, error)

    def _renew(self) -> None:
        tag = self._tag
        if not self._put(tag):
            found = self._lock.head()  # a request may have been carried out though its answer was lost
            self._tag = found.tag if found is not None and self._is_ours() else None

    def _put(self, tag: str | None) -> bool:
        """Whether it is ours by that."""
        began = _now()
        self._count += 1
        body = json.dumps({**self._about, "count": self._count}).encode()
        written = self._lock.put_if(body, tag)
        if written is None:
            return False
        self._tag, self._renewed = written, began
        return True

    def _is_ours(self) -> bool:
        try:
            return bool(json.loads(self._lock.read_bytes()).get("token") == self._about["token"])
        except Exception:  # gone, or whatever stands in it
            return False

    def _holder(self) -> str:
        try:
            about = json.loads(self._lock.read_bytes())
            return f"process {about['process']} on {about['host']}"[:200]
        except Exception:  # gone, or whatever stands in it
            return "another process"


def _now() -> float:
    """Also through a machine's sleep, where the system counts that."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)
