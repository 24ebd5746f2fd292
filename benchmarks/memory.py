"""Peak memory of one call: of the device's allocator on a GPU, of the process on a CPU."""

import ctypes
import gc
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["peak_bytes", "synchronise"]


def peak_bytes(run: Callable[[], object], device: "torch.device | None" = None) -> int:
    """Bytes above those in use before, gradients included; without a device, of the process."""
    gc.collect()
    if device is not None and device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    _return_freed_memory()
    before = _reset_resident_peak()
    run()
    return max(_status("VmHWM") - before, 0)


def synchronise(device: "torch.device") -> None:
    """Wait for what a GPU still computes."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


def _return_freed_memory() -> None:
    """What the allocator keeps of earlier variants would hide what this one needs. GNU's libc can give it back."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _reset_resident_peak() -> int:
    """Linux: forget the highest resident size so far, and return the present one."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _status("VmRSS")


def _status(field: str) -> int:
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(field))
    return int(line.split()[1]) * 1024
