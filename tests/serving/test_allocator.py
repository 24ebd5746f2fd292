"""Freed memory is kept, and no more of it than was meant; in a process of its own, since malloc's options stay."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from llave.serving import app

PROGRAM = """
import threading
from llave.serving.allocator import give_back_memory, keep_freed_memory, resident_memory

MIB = 1 << 20
if not keep_freed_memory():
    raise SystemExit("another malloc")
empty = resident_memory()
blocks = [bytearray(b"x" * 300_000) for _ in range(400)]
thread = threading.Thread(target=lambda: blocks.extend(bytearray(b"x" * 300_000) for _ in range(400)))
thread.start()
thread.join()
full = resident_memory()
assert full - empty > 220 * MIB, (empty, full)
del blocks[::2]  # gaps among the blocks of both threads
assert full - resident_memory() < 20 * MIB, "what was freed is not kept"
left = give_back_memory()
assert full - left > 90 * MIB, (full, left)
blocks += [bytearray(b"x" * 300_000) for _ in range(400)]
assert resident_memory() - full < 20 * MIB, "the gaps are not used again"
"""


def test_gaps_are_kept_then_given_back_then_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    if "another malloc" in done.stderr:
        pytest.skip("this system's malloc is not glibc's")
    assert done.returncode == 0, done.stderr


def test_memory_is_given_back_only_after_it_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    start, least = 1 << 30, (1 << 30) + 5
    grown = iter([start, start + app.KEPT, start + app.KEPT + 1, least + app.KEPT, least + app.KEPT + 1])
    given: list[None] = []
    looks = 0

    def resident() -> int:
        nonlocal looks
        looks += 1
        return next(grown, 0)

    def give() -> int:
        given.append(None)
        return least

    async def look() -> None:
        with ThreadPoolExecutor(1) as thread:
            task = asyncio.create_task(app._tidy(thread))
            while looks < 7:
                await asyncio.sleep(0.001)
            task.cancel()

    monkeypatch.setattr(app, "TIDY_SECONDS", 0.001)
    monkeypatch.setattr(app, "resident_memory", resident)
    monkeypatch.setattr(app, "give_back_memory", give)
    asyncio.run(look())
    assert len(given) == 2
