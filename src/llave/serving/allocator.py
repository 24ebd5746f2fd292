"""Memory that is freed stays with the process for a while: the next batch needs as much again.

By default glibc gives blocks of more than 128 KiB back to the system at once and asks for them anew, and the system
fills them with zeros each time. A picture's activations are hundreds of such blocks: on a CPU, a batch of 16 took 24 ms
for each picture of the nano model, and takes 17 ms with what is below.

What is kept has to be bounded. With an arena for each thread glibc keeps the largest need of every one of them (the
model's, the decoders', LanceDB's 30), and blocks of many sizes leave gaps between them: a server whose objects took
300 MiB from first to last held 330 MiB of free memory beside them, more each minute. So there is one arena, all of
whose free pages can be given back, and the server does so when it has grown by a bound.
"""

import ctypes
import os
import sys
from functools import cache
from typing import Any

__all__ = ["KEPT", "give_back_memory", "keep_freed_memory", "resident_memory"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
AT_THE_END = 256 << 20
"""So much free memory behind the last block stays until the next look at it."""
LARGEST = 32 << 20
"""glibc takes no more; what is larger still goes back at once, so that one large picture is not kept for ever."""
KEPT = 192 << 20
"""Memory is given back when the process has grown by so much since the last time; a batch of pictures takes 80 MiB."""


def keep_freed_memory() -> bool:
    """Tell glibc's malloc, before there are threads; False where there is another malloc."""
    library = _glibc()
    return library is not None and all(
        library.mallopt(name, value)
        for name, value in ((M_MMAP_THRESHOLD, LARGEST), (M_TRIM_THRESHOLD, AT_THE_END), (M_ARENA_MAX, 1))
    )


def resident_memory() -> int:
    """Bytes of the process in the machine's memory; 0 where nothing can be given back."""
    if _glibc() is None:
        return 0
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def give_back_memory() -> int:
    """Give the system all whole pages that are free; what is resident then."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)
    return resident_memory()


@cache
def _glibc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    if not all(hasattr(library, name) for name in ("mallopt", "malloc_trim")):  # musl
        return None
    return library
