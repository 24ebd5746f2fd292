"""Reading a folder of a bucket as a bulk run does: what memory and disk it takes, for few objects and for many.

The bucket is of the tests' server (moto), in a process of its own: the rate is that server's and no bucket's.

Run: python -m benchmarks.bucket --out benchmarks/results/bucket.json
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.memory import peak_bytes
from benchmarks.provenance import provenance
from llave.collection.entry import chunks
from llave.collection.open import open_collection
from llave.files import write_json
from llave.storage.location import ObjectPath
from tests.storage.server import variables

__all__ = ["bucket_line", "measure"]

KB = 64
SERVE = "from tests.storage.server import *\nwith new_bucket() as made: print(running().url, made, flush=True); input()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=[3000, 12_000])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with _bucket() as bucket:
        result = {**provenance(), "kb": KB, "rows": [measure(bucket / str(count), count) for count in args.objects]}
    if args.out is None:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
    else:
        write_json(args.out, result, indent=1)


def measure(folder: ObjectPath, count: int) -> dict[str, float]:
    """Of one pass over the entries, in chunks as they are embedded."""
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(b"word " * (KB * 1024 // 5))
        file.flush()
        for number in range(count):
            (folder / f"{number:06}.txt").upload(Path(file.name))
    collection = open_collection(folder)
    disk, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            disk.append(sum(name.endswith(".txt") for name in os.listdir(collection.root)) * KB * 1024)

    watching = threading.Thread(target=look)
    watching.start()
    start, read = time.perf_counter(), 0

    def work() -> None:
        nonlocal read
        for part in collection.parts(4096):
            for chunk in chunks(collection.read(part), 512):
                read += len(chunk)

    memory = peak_bytes(work)
    seconds = time.perf_counter() - start
    over.set()
    watching.join()
    return {"objects": count, "read": read, "seconds": seconds, "memory": memory, "disk": max(disk)}


@contextmanager
def _bucket() -> Iterator[ObjectPath]:
    """Of a server in another process, whose memory is not ours."""
    with subprocess.Popen([sys.executable, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        url, made = server.stdout.readline().decode().split()
        with mock.patch.dict(os.environ, variables(url)):
            yield ObjectPath.parse(made)
        server.communicate(b"\n")


def bucket_line(found: Mapping[str, Any]) -> str:
    """For docs/object_storage.md."""
    few, many = found["rows"]
    return (
        f"Measured: {few['objects']:,} and {many['objects']:,} objects of {found['kb']} KB took "
        f"{few['memory'] / 2**20:.0f} and {many['memory'] / 2**20:.0f} MiB of memory and {few['disk'] / 2**20:.0f} and "
        f"{many['disk'] / 2**20:.0f} MiB of disk while they were read ({found['machine']}; "
        f"commit {found['commit'][:7]})."
    )


if __name__ == "__main__":
    main()
