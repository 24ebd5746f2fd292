"""A server, honest clients, and one attack after the other."""

import contextlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.hostile.honest import Honest, Seen, Watch
from llave import load_model
from llave.search.build import build_index
from llave.search.index import Index
from llave.search.options import BuildOptions

__all__ = ["INDEX_GOES", "Outcome", "Siege", "besieged"]

INDEX_GOES = "an_index_that_goes"
REST = 1.3
"""Memory returns to so many times that before the attacks."""
RECOVERY = 90.0
"""Seconds that it may take: requests have 60."""
Attacker = Callable[[float], contextlib.AbstractContextManager[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an attack did.

    Args:
        live_s: the longest that ``/health/live`` took; ``live_failed`` of its requests had no answer at all.
        peak_mib, rest_mib: memory at most, and when it was over.
        p95_ms: of the honest clients' requests; ``quiet_p95_ms`` before the attack.
        lost, wrong: of their answers.
    """

    attack: str
    live_s: float
    live_failed: int
    peak_mib: int
    rest_mib: int
    base_mib: int
    requests: int
    p95_ms: float
    quiet_p95_ms: float
    lost: list[str]
    wrong: list[str]


class Siege:
    """A server that is up, with what is known of it in quiet.

    Args:
        model: the one that is served, for the answers that are right.
        index: the one that is served.
    """

    def __init__(self, port: int, server: "subprocess.Popen[bytes]", model: Any, index: Index) -> None:
        self.port = port
        self.server = server
        self.index = index
        self._honest = Honest(model, port, index)
        self.quiet(4.0)  # warm
        self.base = Watch(port, server.pid).memory()

    def quiet(self, seconds: float) -> Seen:
        """The honest clients alone."""
        with self._honest.asking() as seen:
            time.sleep(seconds)
        return seen

    def attack(self, name: str, seconds: float) -> Outcome:
        """Honest clients during an attack, and the server afterwards."""
        attacker = self._index_that_goes if name == INDEX_GOES else self._process(name)
        self._settle()
        before = self.quiet(seconds / 2)
        watch = Watch(self.port, self.server.pid)
        with attacker(seconds), watch, self._honest.asking() as seen:
            time.sleep(seconds)
        return Outcome(
            attack=name,
            live_s=round(watch.worst, 2),
            live_failed=watch.failed,
            peak_mib=watch.most,
            rest_mib=self._rest(watch),
            base_mib=self.base,
            requests=len(seen.seconds),
            p95_ms=round(seen.p95(), 1),
            quiet_p95_ms=round(before.p95(), 1),
            lost=before.lost + seen.lost,
            wrong=before.wrong + seen.wrong,
        )

    @contextlib.contextmanager
    def _index_that_goes(self, seconds: float) -> Iterator[None]:
        """The index's folder is moved away and back, and a copy put into its place."""
        path, away, stop = self.index.path, self.index.path.with_name("away"), threading.Event()

        def loop() -> None:
            while not stop.wait(1.5):
                path.rename(away)
                stop.wait(1.5)
                shutil.copytree(away, path)
                shutil.rmtree(away)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _settle(self) -> None:
        """Wait until nothing is left of the attack before."""
        end = time.monotonic() + RECOVERY
        while time.monotonic() < end:
            page = httpx.get(f"http://127.0.0.1:{self.port}/metrics", trust_env=False, timeout=60).text
            if "llave_requests_in_flight 1.0" in page:  # this one
                return
            time.sleep(0.2)

    def _process(self, name: str) -> Attacker:
        @contextlib.contextmanager
        def attacker(seconds: float) -> Iterator[None]:
            command = [sys.executable, "-m", "benchmarks.hostile.attacks", name, str(self.port), str(seconds)]
            root = Path(__file__).parents[2]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
                assert process.stdout is not None
                if process.stdout.readline() != "begins\n":
                    raise RuntimeError(f"the attack {name} did not begin")
                try:
                    yield
                finally:
                    process.kill()

        return attacker

    def _rest(self, watch: Watch) -> int:
        """Memory once it is near what it was, or after the time for that."""
        end = time.monotonic() + RECOVERY
        while (memory := watch.memory()) > REST * self.base and time.monotonic() < end:
            time.sleep(0.5)
        return memory


@contextlib.contextmanager
def besieged(folder: Path, model: str = "nano") -> Iterator[Siege]:
    """``llave serve`` with an index as a process, once it is ready; all its files in a folder."""
    pictures, draw = folder / "pictures", np.random.default_rng(1)
    pictures.mkdir()
    for number in range(40):
        Image.fromarray(draw.integers(0, 256, (64, 64, 3), np.uint8)).save(pictures / f"{number}.png")
    opened = load_model(model)
    index, _ = build_index(folder / "index", opened, pictures, options=BuildOptions(make_map=False, progress=False))
    words = ["--port", "0", "--access_log", "false", "--index", str(index.path)]
    command = [sys.executable, "-m", "llave.cli.main", "serve", model, *words]
    log = folder / "log"
    with log.open("wb") as said, subprocess.Popen(command, stderr=said) as server:
        try:
            yield Siege(_port(server, log), server, opened, index)
        finally:
            server.send_signal(signal.SIGKILL)


def _port(server: "subprocess.Popen[bytes]", log: Path) -> int:
    while server.poll() is None:
        said = log.read_text()
        if "ready: " in said:
            url = said.split("ready: ")[1].split()[0]
            httpx.get(f"{url}/health/ready", trust_env=False).raise_for_status()
            return int(url.rsplit(":", 1)[1])
        time.sleep(0.1)
    raise RuntimeError(f"the server did not start: {log.read_text()[-500:]}")
