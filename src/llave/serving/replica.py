"""One model process, from our side: it is started, loads, runs one batch at a time, and can be killed at any time.

It is started with ``sys.executable`` and a socket, like the decoders of :mod:`llave.data.bounded`: the caller's script
is not run in it, and it ends when the socket closes, so also when this process is killed.
"""

import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Pipe
from typing import TYPE_CHECKING, Any

from llave.data.door import reason_of
from llave.encode.item import Modality
from llave.errors import UserError
from llave.serving.lanes import ModelEnded
from llave.serving.profile import AnyProfile

if TYPE_CHECKING:
    from llave.serving.app import AnyEngine

__all__ = ["Replica"]


class Replica:
    """A process with the models.

    Args:
        number: from 0.
        load: opens them there; it is sent by its name.

    Raises:
        UserError: no process can be started.
    """

    def __init__(self, number: int, load: "Callable[[], Sequence[AnyEngine]]") -> None:
        self.number = number
        self.ended = False
        self._why = ""
        self._connection, theirs = Pipe()
        start = f"import sys; sys.path[:] = {sys.path!r}; from llave.serving.replica_worker import main; main()"
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", start, str(theirs.fileno()), str(number)],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                )
        except OSError as error:
            self._connection.close()
            raise UserError(f"cannot start a process for the model: {reason_of(error)}") from None
        self._load = load
        self._closing = threading.Lock()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def loaded(self) -> list[AnyProfile]:
        """What its models are, once they are loaded.

        Raises:
            UserError: they cannot be, or the process ended.
        """
        try:
            found = self._exchange(self._load)
        except ModelEnded as error:
            raise UserError(f"the model was being loaded when {error}") from None
        if isinstance(found, UserError):
            raise found
        return found  # type: ignore[no-any-return]

    def run(self, place: int, modality: Modality, prompt: str | None, inputs: list[Any]) -> Sequence[Any]:
        """The results of a batch; in a thread, and one at a time.

        Args:
            place: of the model among those that were loaded.

        Raises:
            ModelEnded: the process ended.
            RuntimeError: the model failed.
        """
        found = self._exchange((place, modality, prompt, inputs))
        if isinstance(found, RuntimeError):
            raise found
        return found  # type: ignore[no-any-return]

    def kill(self, why: str = "") -> None:
        """End it at once; whoever waits for it gets ModelEnded.

        Args:
            why: for the message.
        """
        self._why = self._why or why
        self.ended = True
        self._process.kill()

    def wait(self) -> str:
        """Wait until it has ended; how it did."""
        code = self._process.wait()
        self.ended = True
        if self._why:
            return f"its process was ended: {self._why}"
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        no_memory = " (no memory left?)" if code == -signal.SIGKILL else ""
        return f"its process ended {how}{no_memory}"

    def close(self) -> None:
        """After :meth:`wait`, and when nobody exchanges anything with it any more."""
        with self._closing:
            self._connection.close()

    def _exchange(self, call: Any) -> Any:
        try:
            with self._closing:
                self._connection.send_bytes(pickle.dumps(call, pickle.HIGHEST_PROTOCOL))
                return pickle.loads(self._connection.recv_bytes())  # of our own process
        except (EOFError, OSError):
            self.ended = True
            self._process.kill()  # whatever has closed the socket
            raise ModelEnded(self.wait()) from None
