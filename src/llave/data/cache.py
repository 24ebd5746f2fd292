"""Where llave keeps what it can make or fetch again."""

import os
from pathlib import Path

__all__ = ["cache_directory"]


def cache_directory() -> Path:
    """``$LLAVE_CACHE``, or ``~/.cache/llave``."""
    return Path(os.environ.get("LLAVE_CACHE") or Path.home() / ".cache" / "llave")
