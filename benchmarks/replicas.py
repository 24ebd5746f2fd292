"""``llave serve`` with the model in one process and in two, on the same cores, and through a process that is killed.

    python -m benchmarks.replicas nano --out benchmarks/results/replicas_cpu.json

All servers run at a time; in a round each of them meets the clients, in an order of its own, while the others idle. No
text is sent twice. The vectors are compared before any time is told. What other work took of the processor meanwhile is
kept: beside it, more processes get a larger share, whatever they do with it. Memory is what a replica has for itself,
and what it shares: the proportional share counts a page that three processes have as a third in each.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.http_client import closed_loop, post
from benchmarks.provenance import provenance
from benchmarks.serve import cpu_seconds, picture_requests, server_process, text_requests
from benchmarks.sheet import Sheet
from llave.files import write_json

__all__ = ["busy_seconds", "main", "replicas_answer", "replicas_sheet"]

ONE, ONE_WIDE, TWO = "one process, 1 thread", "one process, 2 threads", "2 replicas, 1 thread each"
OPTIONS = {
    ONE: ["--threads", "1"],
    ONE_WIDE: ["--threads", "2"],
    TWO: ["--replicas", "2", "--threads", "2"],
}
KINDS = ("texts", "pictures")
NEAR = 1e-5
START_SECONDS = 600.0


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    requests = {"texts": text_requests(0), "pictures": picture_requests(1)}
    cells: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    with ExitStack() as stack:
        starting = {name: server_process(name, partial(_words, options.model, name), START_SECONDS) for name in OPTIONS}
        with ThreadPoolExecutor(len(OPTIONS)) as pool:  # at a time: they wait for the disk, too
            servers = dict(zip(OPTIONS, pool.map(stack.enter_context, starting.values()), strict=True))
        asyncio.run(_all_ready(servers[TWO][0]))
        ports = {name: port for name, (port, _) in servers.items()}
        for kind in KINDS:
            asyncio.run(_compare(ports, [next(requests[kind]) for _ in range(8)]))
            for port in ports.values():
                asyncio.run(closed_loop(port, options.clients, requests[kind], 2.0))
        shuffle = random.Random(0)
        pids = [pid for _, main in servers.values() for pid in (main, *_children(main))]
        since, busy, own = time.monotonic(), busy_seconds(), _own_seconds(pids)
        for _ in range(options.rounds):
            for kind in KINDS:
                for name in shuffle.sample(list(servers), len(servers)):
                    port, pid = servers[name]
                    cells[name, kind].append(_measure(port, pid, options.clients, requests[kind], options.seconds))
        others = (busy_seconds() - busy - _own_seconds(pids) + own) / (time.monotonic() - since)
        memory = {name: [_memory(pid) for pid in (pid, *_children(pid))] for name, (_, pid) in servers.items()}
    measurements = [_summary(name, kind, cells) for kind in KINDS for name in OPTIONS]
    title = (
        f"{options.model} on cpu, {options.clients} closed-loop clients on the same machine, "
        f"{options.seconds:g} s each, median of {options.rounds}"
    )
    about = {**provenance(), "title": title, "others_cores": others}
    write_json(options.out, {**about, "measurements": measurements, "memory_mib": memory})


def replicas_sheet(found: dict[str, Any]) -> Sheet:
    """A row for each kind and server."""
    return Sheet(
        title=f"{found['title']} · {found['machine']}; commit {found['commit'][:7]}",
        caption="",
        columns=[
            "items",
            "server",
            "requests/s",
            "slowest to fastest",
            "× one process, 1 thread",
            "p50 ms",
            "p95 ms",
            "CPU ms",
        ],
        rows=[
            [
                each["kind"],
                each["variant"],
                f"{each['rate']:.1f}",
                f"{each['slowest']:.1f} to {each['fastest']:.1f}",
                f"{each['ratio']:.2f}",
                f"{each['p50_ms']:.0f}",
                f"{each['p95_ms']:.0f}",
                f"{each['cpu_ms']:.1f}",
            ]
            for each in found["measurements"]
        ],
        words=frozenset({"items", "server"}),
        apart=1,
    )


def replicas_answer(found: dict[str, Any]) -> str:
    """What more processes give on this machine, in a sentence."""
    by = {(each["variant"], each["kind"]): each for each in found["measurements"]}
    ratios = " and ".join(f"{by[TWO, kind]['ratio']:.2f} times the {kind}" for kind in KINDS)
    times = " and ".join(f"{by[TWO, kind]['cpu_ms'] / by[ONE, kind]['cpu_ms']:.2f} for {kind}" for kind in KINDS)
    front, *replicas = found["memory_mib"][TWO]
    alone = found["memory_mib"][ONE][0]
    share = statistics.mean(each["proportional"] for each in replicas)
    return (
        f"On {found['machine'].rpartition(', ')[2]}, with the clients on them too, two replicas gave {ratios} a second "
        f"of one process with a thread. Other work took {found['others_cores']:.1f} of the cores meanwhile; so "
        "more processes got a larger share, and those ratios flatter the replicas; the processor time of a request, "
        f"which that disturbs least, was {times} times that of the one process. "
        f"A replica took {share:,.0f} MiB (its proportional share) and the server's own process "
        f"{front['proportional']:,.0f}, where one process with the model takes {alone['proportional']:,.0f}."
    )


def _words(model: str, name: str, port: int) -> list[str]:
    return ["-m", "llave.cli.main", "serve", model, "--port", str(port), "--drain_seconds", "0", *OPTIONS[name]]


def _measure(port: int, pid: int, clients: int, requests: Iterator[bytes], seconds: float) -> dict[str, float]:
    pids = [pid, *_children(pid)]
    before = sum(map(cpu_seconds, pids))
    rate, times = asyncio.run(closed_loop(port, clients, requests, seconds))
    p50, p95 = np.quantile(times, (0.5, 0.95)).tolist()
    cpu = (sum(map(cpu_seconds, pids)) - before) / len(times) * 1000
    return {"rate": rate, "p50_ms": p50 * 1000, "p95_ms": p95 * 1000, "cpu_ms": cpu}


def _summary(name: str, kind: str, cells: dict[tuple[str, str], list[dict[str, float]]]) -> dict[str, Any]:
    rounds = cells[name, kind]
    rates = [each["rate"] for each in rounds]
    ratios = [each["rate"] / one["rate"] for each, one in zip(rounds, cells[ONE, kind], strict=True)]
    medians = {key: statistics.median(each[key] for each in rounds) for key in ("rate", "p50_ms", "p95_ms", "cpu_ms")}
    ends = {"slowest": min(rates), "fastest": max(rates), "ratio": statistics.median(ratios)}
    return {"variant": name, "kind": kind, **medians, **ends}


def _children(pid: int) -> list[int]:
    """Processes that a process has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def busy_seconds() -> float:
    """Of all cores, so far."""
    user, nice, system, _idle, _waiting, *rest = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:8])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def _own_seconds(pids: list[int]) -> float:
    """Processor time of the servers and of the clients, which are in this process."""
    return sum(map(cpu_seconds, pids)) + time.process_time()


def _memory(pid: int) -> dict[str, float]:
    """MiB of a process: resident, its proportional share of that, and what is its own alone."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: float(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    own = kib["Private_Clean"] + kib["Private_Dirty"]
    return {"resident": kib["Rss"] / 1024, "proportional": kib["Pss"] / 1024, "own": own / 1024}


async def _get(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
    found = await reader.read()
    writer.close()
    return found


async def _all_ready(port: int) -> None:
    while b'"replicas_ready":2' not in await _get(port, "/health/ready"):
        await asyncio.sleep(0.2)


async def _compare(ports: dict[str, int], requests: list[bytes]) -> None:
    found = {}
    for name, port in ports.items():
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        answers = [json.loads(await post(reader, writer, request)) for request in requests]
        writer.close()
        found[name] = np.stack([np.frombuffer(base64.b64decode(one["data"][0]["embedding"]), "<f4") for one in answers])
    for name, vectors in found.items():
        if (difference := float(np.abs(vectors - found[ONE]).max())) > NEAR:
            raise SystemExit(f"{name}: its vectors differ from those of {ONE} by {difference:.0e}; no times")


if __name__ == "__main__":
    os.environ.pop("OMP_NUM_THREADS", None)  # the servers have the threads that they are told
    main()
