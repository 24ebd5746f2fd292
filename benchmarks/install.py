"""What the two installations take, in fresh environments: ``python -m benchmarks.install --out benchmarks/results``.

It asks the package registry as pip does; a cache of pip's shortens it, and is said.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.provenance import provenance
from llave.files import write_json

ROOT = Path(__file__).parent.parent
EXTRAS = {"make quickstart": "sample,media,serve", "make test": "dev"}


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results")
    out: Path = parser.parse_args().out
    found = {name: _install(extras) for name, extras in EXTRAS.items()}
    write_json(out / "install.json", {**provenance(), "installations": found}, indent=1)


def install_line(found: dict[str, Any]) -> str:
    """In a sentence."""
    parts = [
        f"`{name}` installs {each['gigabytes']:.1f} GB in {each['seconds'] / 60:.1f} minutes at a load average of "
        f"{each['load_average']:.0f}"
        for name, each in found["installations"].items()
    ]
    return f"{'; '.join(parts)} ({found['machine']}; commit {found['commit'][:7]})."


def _install(extras: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "--no-cache-dir"]
        subprocess.run([*pip, "-c", ROOT / "constraints.txt", "-e", f"{ROOT}[{extras}]"], check=True)
        seconds = time.monotonic() - start
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink())
    return {"seconds": round(seconds, 1), "gigabytes": round(size / 1e9, 2), "load_average": os.getloadavg()[1]}


if __name__ == "__main__":
    main()
