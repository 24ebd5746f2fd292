"""Our server beside plain ones: FastAPI and ``model.encode`` (``serve_peer.py``).

All are processes of their own on this machine, with the same model and as many threads. In every round each of them
meets each number of clients, in an order of its own; the others idle. No request is sent twice, so that nothing
could be answered from memory. The vectors are compared before any time is told.
"""

import asyncio
import base64
import io
import itertools
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from benchmarks.http_client import closed_loop, post, prepared
from llave.errors import UserError

__all__ = [
    "IN_THREADS",
    "OURS",
    "PEERS",
    "WORDS",
    "ServeMeasurement",
    "cpu_seconds",
    "measure_serve",
    "measure_servers",
    "picture_requests",
    "running",
    "server_process",
    "summary",
    "text_requests",
]

OURS, IN_LOOP, IN_THREADS = "llave serve", "plain, async def", "plain, threads"
PEERS = {IN_LOOP: "loop", IN_THREADS: "threads"}
START_SECONDS = 180
NEAR = 1e-4
WORDS = (
    "red blue small old bright wooden paper umbrella dog cat bridge lamp street garden window boat mountain river "
    "under over beside behind in front of with without and near a the one two three photo drawing icon of"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeMeasurement:
    """One server, kind of item and number of clients; medians of the rounds, with the ends for ``rate``.

    ``ratio`` is the median of the rounds' own ratios to the fastest peer of the round. ``cpu_ms`` is the server's
    processor time for a request, which no neighbour on the machine can disturb much; nan where there is no /proc.
    """

    variant: str
    kind: str
    clients: int
    rate: float
    slowest: float
    fastest: float
    p50_ms: float
    p95_ms: float
    ratio: float
    cpu_ms: float


def text_requests(seed: int, *, longest: int = 24) -> Iterator[bytes]:
    """Texts of 3 to ``longest`` words, none twice."""
    draw, words = random.Random(seed), WORDS.split()
    for number in itertools.count():
        text = " ".join([*draw.choices(words, k=draw.randint(2, longest - 1)), str(number)])
        yield prepared(json.dumps({"input": text, "encoding_format": "base64"}).encode())


def picture_requests(seed: int, number: int = 256, *, modality: bool = False) -> Iterator[bytes]:
    """JPEG files of different sizes: so many pictures in turn, and no file twice, for each carries a number.

    Args:
        modality: ask in infinity's form, which ours takes, too.
    """
    draw = np.random.default_rng(seed)
    files = []
    for _ in range(number):
        width, height = (int(side) for side in draw.integers(160, 480, 2))
        coarse = Image.fromarray(draw.integers(0, 255, (12, 12, 3), np.uint8))
        file = io.BytesIO()
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
        files.append(file.getvalue())
    for sent, plain in enumerate(itertools.cycle(files)):
        numbered = plain[:2] + b"\xff\xfe\x00\x0a" + sent.to_bytes(8) + plain[2:]  # a comment of the file
        address = "data:image/jpeg;base64," + base64.b64encode(numbered).decode()
        asked = {"input": [address], "modality": "image"} if modality else {"input": [{"image": address}]}
        yield prepared(json.dumps({**asked, "encoding_format": "base64"}).encode())


def measure_serve(
    model: str,
    *,
    clients: Sequence[int] = (1, 8, 64),
    kinds: Sequence[str] = ("texts", "pictures"),
    rounds: int = 5,
    seconds: float = 3.0,
    threads: int = 2,
    near: float = NEAR,
    progress: bool = True,
) -> list[ServeMeasurement]:
    """Measure the servers.

    Args:
        clients: numbers of closed-loop clients.
        kinds: of items, ``"texts"`` and ``"pictures"``.
        seconds: of each measurement.
        threads: of torch, in each.
        near: by which the servers' vectors may differ; 16-bit weights round otherwise in another batch.

    Raises:
        UserError: a server that does not start, or vectors that differ.
    """
    makers: dict[str, Callable[[int], Iterator[bytes]]] = {"texts": text_requests, "pictures": picture_requests}
    return measure_servers(
        {name: running(name, model, threads) for name in (OURS, *PEERS)},
        {kind: makers[kind](seed) for seed, kind in enumerate(kinds)},
        peers=PEERS,
        clients=clients,
        rounds=rounds,
        seconds=seconds,
        near=near,
        progress=progress,
    )


def measure_servers(
    starting: Mapping[str, AbstractContextManager[tuple[int, int]]],
    requests: Mapping[str, Iterator[bytes]],
    *,
    peers: Collection[str],
    clients: Sequence[int],
    rounds: int,
    seconds: float,
    near: float = NEAR,
    progress: bool = True,
) -> list[ServeMeasurement]:
    """Measure servers that answer the same requests.

    Args:
        starting: each yields its port and its process; the first is ours, and the one whose vectors all must have.
        requests: without end, by the kind of item.
        peers: of the servers, those that ``ratio`` compares with.

    Raises:
        UserError: a server that does not start, or vectors that differ.
    """
    rates: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    latencies: dict[tuple[str, str, int], list[list[float]]] = defaultdict(list)
    cpu: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    with ExitStack() as stack:
        servers = {name: stack.enter_context(server) for name, server in starting.items()}
        ports = {name: port for name, (port, _) in servers.items()}
        for kind, asked in requests.items():
            asyncio.run(_compare(ports, kind, [next(asked) for _ in range(8)], near))
            for port in ports.values():
                asyncio.run(closed_loop(port, max(clients), asked, min(seconds, 1.0)))
        cells = [(kind, number) for kind in requests for number in clients]
        shuffle, console = random.Random(0), Console(stderr=True)
        for _ in track(
            range(rounds), "rounds", console=console, transient=True, disable=not (progress and console.is_terminal)
        ):
            for kind, number in cells:
                for name in shuffle.sample(list(ports), len(ports)):
                    port, pid = servers[name]
                    before = cpu_seconds(pid)
                    rate, times = asyncio.run(closed_loop(port, number, requests[kind], seconds))
                    cpu[name, kind, number].append((cpu_seconds(pid) - before) / len(times) * 1000)
                    rates[name, kind, number].append(rate)
                    latencies[name, kind, number].append(times)
    return [summary(name, kind, number, rates, latencies, cpu, peers) for kind, number in cells for name in starting]


def summary(
    name: str,
    kind: str,
    number: int,
    rates: Mapping[tuple[str, str, int], list[float]],
    latencies: Mapping[tuple[str, str, int], list[list[float]]],
    cpu: Mapping[tuple[str, str, int], list[float]],
    peers: Collection[str] = tuple(PEERS),
) -> ServeMeasurement:
    """Of one server: its rounds' rates, the seconds of their requests, and its processor time for one."""
    found = rates[name, kind, number]
    quantiles = [np.quantile(times, (0.5, 0.95)) * 1000 for times in latencies[name, kind, number]]
    fastest = [max(each) for each in zip(*(rates[peer, kind, number] for peer in peers), strict=True)]
    ratios = [rate / best for rate, best in zip(found, fastest, strict=True)]
    return ServeMeasurement(
        variant=name,
        kind=kind,
        clients=number,
        rate=statistics.median(found),
        slowest=min(found),
        fastest=max(found),
        p50_ms=statistics.median(float(pair[0]) for pair in quantiles),
        p95_ms=statistics.median(float(pair[1]) for pair in quantiles),
        ratio=statistics.median(ratios),
        cpu_ms=statistics.median(cpu[name, kind, number]),
    )


async def _compare(ports: dict[str, int], kind: str, requests: Sequence[bytes], near: float) -> None:
    found = {}
    for name, port in ports.items():
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        answers = [json.loads(await post(reader, writer, request)) for request in requests]
        writer.close()
        vectors = [base64.b64decode(answer["data"][0]["embedding"]) for answer in answers]
        found[name] = np.stack([np.frombuffer(vector, "<f4") for vector in vectors])
    ours, *others = found
    if float(np.abs(found[ours][1:] - found[ours][:-1]).max(1).min()) <= NEAR:
        raise UserError(f"different {kind} have the same vector: this model can compare nothing")
    for name in others:
        difference = float(np.abs(found[ours] - found[name]).max())
        if difference > near:
            raise UserError(f"{name}: its vectors of {kind} differ from ours by {difference:.0e}; no times")


@contextmanager
def running(name: str, model: str, threads: int) -> Iterator[tuple[int, int]]:
    """Ours, or a plain server, in a process of its own; yields its port and process once it is ready."""
    peer = str(Path(__file__).with_name("serve_peer.py"))

    def words(port: int) -> list[str]:
        if name != OURS:
            return ["-P", peer, model, str(port), str(threads), PEERS[name]]
        serve = ["-m", "llave.cli.main", "serve", model]
        return [*serve, "--port", str(port), "--threads", str(threads), "--drain_seconds", "0"]

    with server_process(name, words) as found:
        yield found


@contextmanager
def server_process(
    name: str,
    make: Callable[[int], list[str]],
    seconds: float = START_SECONDS,
    *,
    python: str = sys.executable,
    ready: str = "/health/ready",
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[int, int]]:
    """Python with the words that ``make`` has for a port; yields the port and the process once it is ready.

    Args:
        seconds: until it has to be.
        ready: the path that answers 200 then.
        environment: beside this process's own.
    """
    port = _free_port()
    process = subprocess.Popen(
        [python, *make(port)],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )
    try:
        _wait(process, name, f"http://127.0.0.1:{port}{ready}", seconds)
        yield port, process.pid
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:  # what was measured shall not be lost for it
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], name: str, address: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise UserError(f"{name} did not start (exit code {process.poll()}); run it by hand to see why")


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, user and system."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
