"""What every committed measurement says of itself."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["provenance"]


def provenance() -> dict[str, str]:
    """``command``, ``commit`` (with a + where files are changed; empty outside a checkout) and ``machine``."""
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": _commit(),
        "machine": f"{platform.platform()}, {os.cpu_count()} cores",
    }


def _commit() -> str:
    if told := os.environ.get("LLAVE_COMMIT"):  # a copy of a checkout, on a machine lent for the measurement
        return told
    if shutil.which("git") is None:
        return ""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip()
