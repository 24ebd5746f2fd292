"""A command's time, and the peak of memory of its process and all that it starts."""

import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Measured", "run_measured"]

PERIOD = 0.1
"""Seconds between two looks at the memory, or longer where a look is slow; a peak that is shorter can be missed."""
LAST_WORDS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """``seconds`` on the clock, which others on the machine slow down, and ``cpu_seconds`` of all processes, which they
    do not; ``peak_bytes``: resident memory of all processes, pages that several share counted once (PSS)."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: str


def run_measured(command: Sequence[str], *, threads: int, cwd: Path | None = None) -> Measured:
    """Run a command and watch it.

    Args:
        threads: of its arithmetic (``OMP_NUM_THREADS``).

    Raises:
        RuntimeError: it fails; with the end of what it said.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        begin, before = time.perf_counter(), _cpu_seconds()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment, cwd=cwd)
        peak = 0
        while process.poll() is None:
            start = time.perf_counter()
            peak = max(peak, _resident(process.pid))
            time.sleep(max(PERIOD, 20 * (time.perf_counter() - start)))  # to add up a model's pages takes a while
        seconds, cpu_seconds = time.perf_counter() - begin, _cpu_seconds() - before
        said.seek(0)
        output = said.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}\n{output[-LAST_WORDS:]}")
    return Measured(seconds=seconds, cpu_seconds=cpu_seconds, peak_bytes=peak, output=output)


def _cpu_seconds() -> float:
    """Of all children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _resident(pid: int) -> int:
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            try:
                total += process.memory_full_info().pss
            except psutil.Error:  # it ended while we looked, or gives up its memory just now
                continue
    except psutil.Error:
        return 0
    return total
