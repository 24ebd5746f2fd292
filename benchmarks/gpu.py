"""What is worth knowing of a GPU, in one command of about eight minutes: ``make gpu``.

Two ceilings (copying, multiplying), the loss, a training step of LLaVE-0.5B's size, vectors, a server and the tests
that need a GPU, each in a process of its own with a limit, so that one that fails or hangs costs itself alone. The
result is written after every part, and a part that is measured later, on a device of the same name, joins those in the
file. It needs a checkout and an environment that can import ``llave[serve]`` (``make wheels``); weights are random.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.provenance import provenance
from llave.files import write_json

__all__ = ["PARTS", "main"]

ROOT = Path(__file__).parent.parent
LAST_WORDS = 1500

PARTS = {
    "ceilings": 30, "loss": 80, "step": 100, "vectors": 60, "serve": 150, "tests": 150, "loss_float32": 50,
    "loss_large": 80,
}  # fmt: skip
"""Name of a function in :mod:`benchmarks.gpu_parts` -> its limit in seconds; what matters most first."""


def main() -> int:
    """Run the parts, each in a process; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/gpu.json")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--small", action="store_true", help="tiny shapes: a rehearsal, on a CPU too")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        from benchmarks import gpu_parts

        for measured in getattr(gpu_parts, options.parts[0])(options.small):
            write_json(options.out, measured)
        return 0
    found: dict[str, Any] = {**provenance(), **about(), "small": options.small, "parts": {}}
    if options.out.is_file():
        before = json.loads(options.out.read_text("utf-8"))
        if all(before.get(key) == found[key] for key in ("device", "libraries", "small")):
            found["parts"] = before["parts"]
    for name in options.parts:
        found["parts"][name] = {"commit": found["commit"], **run_part(name, options.small)}
        write_json(options.out, found, indent=1)
        outcome = found["parts"][name]
        sys.stdout.write(f"{name}: {outcome['seconds']:.0f} s {outcome.get('failed', '')}\n")
        sys.stdout.flush()
    return int(any("failed" in part or part.get("failed_tests") for part in found["parts"].values()))


def run_part(name: str, small: bool) -> dict[str, Any]:
    """What it measured and its ``seconds``; ``failed`` says why that is not all."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "part.json"
        command = [sys.executable, "-m", "benchmarks.gpu", "--one", "--parts", name, "--out", str(out)]
        process = subprocess.Popen(
            [*command, *(["--small"] if small else [])], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        )  # fmt: skip
        try:
            said, _ = process.communicate(timeout=PARTS[name])
            failed = "" if process.returncode == 0 else said[-LAST_WORDS:]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            said, _ = process.communicate()
            failed = f"took more than {PARTS[name]} s; {said[-LAST_WORDS:]}"
        measured = json.loads(out.read_text()) if out.is_file() else {}
    return {"seconds": time.perf_counter() - start, **({"failed": failed} if failed else {}), **measured}


def about() -> dict[str, Any]:
    """The device, its driver and the libraries."""
    from importlib.metadata import version

    import torch

    libraries = ("torch", "transformers", "sentence-transformers", "triton")
    found = {name: version(name) for name in libraries if name != "triton" or torch.cuda.is_available()}
    if not torch.cuda.is_available():
        return {"device": platform.processor() or "CPU", "libraries": found}
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    properties = torch.cuda.get_device_properties(0)
    return {
        "device": properties.name,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "driver": driver,
        "libraries": found,
    }


if __name__ == "__main__":
    sys.exit(main())
