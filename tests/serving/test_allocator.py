"""Freed memory is kept, and no more of it than was meant; in a process of its own, since malloc's options stay."""

import subprocess
import sys

import pytest

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


SERVER = """
import asyncio
from concurrent.futures import ThreadPoolExecutor
from llave.serving.allocator import keep_freed_memory, resident_memory
from llave.serving.app import _tidy

MIB = 1 << 20
if not keep_freed_memory():
    raise SystemExit("another malloc")

def blocks(number):
    return [bytearray(b"x" * 300_000) for _ in range(number)]

async def life():
    with ThreadPoolExecutor(1) as thread:
        task = asyncio.create_task(_tidy(thread, seconds=0.001, kept=100 * MIB))
        await asyncio.sleep(0)
        some = blocks(200)
        del some[::2]  # gaps of 28 MiB, and the process has grown by 57
        held = resident_memory()
        for _ in range(20):
            await asyncio.sleep(0.002)
        assert held - resident_memory() < 10 * MIB, "given back before it had grown"
        some += blocks(800)
        full = resident_memory()
        del some[::2]
        while full - resident_memory() < 80 * MIB:
            await asyncio.sleep(0.001)
        task.cancel()

asyncio.run(life())
"""


def test_memory_is_given_back_only_after_it_has_grown() -> None:
    """In a process of its own, which ends when it is given back."""
    done = subprocess.run([sys.executable, "-c", SERVER], capture_output=True, text=True, timeout=300)
    if "another malloc" in done.stderr:
        pytest.skip("this system's malloc is not glibc's")
    assert done.returncode == 0, done.stderr
