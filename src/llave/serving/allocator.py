"""Memory that is freed stays with the process for a while: the next batch needs as much again.

By default glibc gives blocks of more than 128 KiB back to the system at once and asks for them anew, and the system
fills them with zeros each time. A picture's activations are hundreds of such blocks: on a CPU, a batch of 16 took 24 ms
for each picture of the nano model, and takes 17 ms with what is below.

What is kept has to be bounded. With an arena for each thread glibc keeps the largest need of every one of them (the
model's, the decoders', LanceDB's 30), and blocks of many sizes leave gaps between them: a server whose objects took
290 MiB from first to last held 330 MiB of free memory beside them. So there is one arena, whose gaps all threads fill,
and from time to time the server gives back what is free beyond a bound.
"""

import ctypes
import sys
from functools import cache
from typing import Any

__all__ = ["KEPT", "free_memory", "give_back_memory", "keep_freed_memory"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
AT_THE_END = 256 << 20
"""So much free memory behind the last block stays until the next look at it."""
LARGEST = 32 << 20
"""glibc takes no more; what is larger still goes back at once, so that one large picture is not kept for ever."""
KEPT = 64 << 20
"""Free memory that is worth no look."""


def keep_freed_memory() -> bool:
    """Tell glibc's malloc, before there are threads; False where there is another malloc."""
    library = _glibc()
    return library is not None and all(
        library.mallopt(name, value)
        for name, value in ((M_MMAP_THRESHOLD, LARGEST), (M_TRIM_THRESHOLD, AT_THE_END), (M_ARENA_MAX, 1))
    )


def free_memory() -> int:
    """Bytes that the process holds for blocks to come; 0 where that is not known."""
    library = _glibc()
    return 0 if library is None else int(library.mallinfo2().fordblks)


def give_back_memory() -> None:
    """Give the system all whole pages that are free."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


class _MallInfo(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()  # noqa: SIM905
    )


@cache
def _glibc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    if not all(hasattr(library, name) for name in ("mallopt", "mallinfo2", "malloc_trim")):  # musl; glibc before 2.33
        return None
    library.mallinfo2.restype = _MallInfo
    return library
