"""What this process holds alone in object storage, so that nothing below it is written once that has been lost."""

import threading
from collections.abc import Callable

__all__ = ["check_held", "forget_held", "hold"]

_HELD: dict[str, Callable[[], None]] = {}
_LOCK = threading.Lock()


def hold(address: str, check: Callable[[], None]) -> None:
    """From now on, ``check`` is asked before anything at or below an address is written."""
    with _LOCK:
        _HELD[address] = check


def forget_held(address: str) -> None:
    """It is not this process's any more."""
    with _LOCK:
        _HELD.pop(address, None)


def check_held(address: str) -> None:
    """Before a write at an address.

    Raises:
        UserError: this process held it, or a folder above it, and has lost it.
    """
    with _LOCK:
        asked = [check for held, check in _HELD.items() if address == held or address.startswith(f"{held}/")]
    for check in asked:
        check()
