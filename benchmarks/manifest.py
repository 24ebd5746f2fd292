"""Planning a bulk run of millions of files that are not there: its time and the peak of its memory.

Run: python -m benchmarks.manifest --out benchmarks/results/manifest.json
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.memory import peak_bytes
from benchmarks.provenance import provenance
from llave.bulk import manifest
from llave.collection.collection import Columns
from llave.files import write_json

__all__ = ["Simulated", "manifest_line", "measure"]

SHARD = 4096


class Simulated:
    """A folder of files that are not there."""

    notes: tuple[str, ...] = ()

    def __init__(self, items: int) -> None:
        self.items = items
        self.left_out: Counter[str] = Counter()

    def parts(self, size: int) -> Iterator[dict[str, Any]]:
        """Names as a folder of photos has them."""
        for first in range(0, self.items, size):
            last = min(first + size, self.items)
            yield {"files": [f"folder {number % 1000}/picture {number:08}.jpg" for number in range(first, last)]}

    def state(self) -> str:
        """Nothing changes."""
        return str(self.items)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    result = {**provenance(), **measure(args.items)}
    if args.out is None:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
    else:
        write_json(args.out, result, indent=1)


def measure(items: int) -> dict[str, float]:
    """Writing the manifest, and opening it again as a command that goes on does."""
    manifest.open_collection = lambda *_, **__: Simulated(items)  # type: ignore[assignment]
    settings = manifest.Settings(
        input="simulated", columns=Columns(), model="nano", fingerprint="", prompt="", num_frames=8, shard_size=SHARD,
        dimensions=384, precision="float32", format="parquet", keep=False,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        took, peaks = [], []
        for _ in range(2):
            since = time.process_time()
            peaks.append(peak_bytes(lambda: manifest.open_manifest(Path(folder) / "out", settings)))
            took.append(time.process_time() - since)
        opened = manifest.load_manifest(Path(folder) / "out")
        parts = len(opened.parts)
        assert len(opened.todo()) == parts
        size = (Path(folder) / "out" / manifest.PARTS).stat().st_size
    return {
        "items": items,
        "parts": parts,
        "file_bytes": size,
        "write_cpu_s": took[0],
        "open_cpu_s": took[1],
        "peak_bytes": max(peaks),
    }


def manifest_line(found: Mapping[str, Any]) -> str:
    """In a sentence."""
    peak, commit = found["peak_bytes"] / 2**20, found["commit"][:7]
    return (
        f"A manifest of {found['items'] / 1e6:,.0f} million files (names made up, {found['file_bytes'] / 1e6:,.0f} MB) "
        f"takes {found['write_cpu_s']:,.0f} seconds of a core to write, {found['open_cpu_s']:,.0f} to open and compare "
        f"again, and {peak:,.0f} MiB of memory ({found['machine']}; commit {commit})."
    )


if __name__ == "__main__":
    main()
