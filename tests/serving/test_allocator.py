"""Freed memory is kept, and no more of it than was meant; in a process of its own, since malloc's options stay."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from llave.serving import app
from llave.serving.allocator import free_memory

PROGRAM = """
import threading
from llave.serving.allocator import free_memory, give_back_memory, keep_freed_memory

if not keep_freed_memory():
    raise SystemExit("another malloc")
blocks = [bytearray(300_000) for _ in range(400)]
threading.Thread(target=lambda: blocks.extend(bytearray(300_000) for _ in range(400))).start()
while len(blocks) < 800:
    pass
del blocks[::2]  # gaps, which the system gets only if it is asked to take them
assert free_memory() > 100 << 20, free_memory()
pages = lambda: int(open("/proc/self/statm").read().split()[1])
before = pages()
give_back_memory()
assert before - pages() > (90 << 20) // 4096, (before, pages())
blocks += [bytearray(300_000) for _ in range(400)]  # fill the gaps again
assert free_memory() < 40 << 20, free_memory()
"""


def test_gaps_are_kept_then_given_back_then_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    if "another malloc" in done.stderr:
        pytest.skip("this system's malloc is not glibc's")
    assert done.returncode == 0, done.stderr


def test_a_server_looks_at_its_free_memory_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter([0, app.KEPT + 1, app.KEPT, app.KEPT + 1])
    given: list[None] = []

    async def look() -> None:
        with ThreadPoolExecutor(1) as thread:
            task = asyncio.create_task(app._tidy(thread))
            while len(given) < 2:
                await asyncio.sleep(0.001)
            task.cancel()

    monkeypatch.setattr(app, "TIDY_SECONDS", 0.001)
    monkeypatch.setattr(app, "free_memory", lambda: next(free, 0))
    monkeypatch.setattr(app, "give_back_memory", lambda: given.append(None))
    asyncio.run(look())
    assert len(given) == 2


def test_free_memory_is_a_number() -> None:
    assert free_memory() >= 0
