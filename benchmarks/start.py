"""What starting costs: a search from the command line, alone and with a server that has the index open, and the server.

Run: python -m benchmarks.start MODEL INDEX --out benchmarks/results/start.json
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.provenance import provenance
from benchmarks.sheet import Sheet

__all__ = ["start_sheet"]

PORT = 8731
LLAVE = [sys.executable, "-m", "llave.cli.main"]
ALONE, ASKED, READY = "llave search", "llave search, beside a server", "llave serve, until it is ready"
IMPORTS = {name: f"import {name}" for name in ("torch", "sentence_transformers", "lancedb")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="directory of the index's model")
    parser.add_argument("index", type=Path)
    parser.add_argument("--text", default="a crab")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    search = [*LLAVE, "search", args.text, "--index", str(args.index), "--json"]
    seconds: dict[str, list[tuple[float, float]]] = {}
    answers = set()
    for _ in range(args.rounds):
        for name, code in IMPORTS.items():
            timed(seconds.setdefault(f"import {name}", []), [sys.executable, "-c", code])
        server = subprocess.Popen(
            [*LLAVE, "serve", args.model, "--index", str(args.index), "--port", str(PORT), "--access_log", "false"],
            stderr=subprocess.DEVNULL,
        )
        try:
            seconds.setdefault(READY, []).append(until_ready(server))
            found = timed(seconds.setdefault(ASKED, []), search)
            answers.add(tuple(hit["id"] for hit in json.loads(found)))
        finally:
            server.terminate()
            server.wait(60)
        found = timed(seconds.setdefault(ALONE, []), search)
        answers.add(tuple(hit["id"] for hit in json.loads(found)))
    if len(answers) != 1:
        raise SystemExit(f"other hits with a server than without: {answers}")
    ways = {
        name: {"cpu_seconds": median(cpu for cpu, _ in each), "seconds": median(wall for _, wall in each)}
        for name, each in seconds.items()
    }
    result = {**provenance(), "rounds": args.rounds, "load": round(os.getloadavg()[0], 1), "ways": ways}
    sys.stdout.write(start_sheet(result))
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


def timed(into: list[tuple[float, float]], command: list[str]) -> str:
    """Run a command to its end; its processor and wall seconds are added, its output is returned."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    into.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall))
    return ran.stdout


def until_ready(server: "subprocess.Popen[bytes]") -> tuple[float, float]:
    """Processor and wall seconds until the server says that it is ready."""
    start = time.perf_counter()
    while True:
        if server.poll() is not None:
            raise SystemExit("the server has ended")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health/ready", timeout=10):
                break
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    wall = time.perf_counter() - start
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), wall


def start_sheet(found: dict[str, Any]) -> str:
    """The table, as Markdown."""
    rows = [(name, f"{way['cpu_seconds']:.1f}", f"{way['seconds']:.1f}") for name, way in found["ways"].items()]
    title = (
        f"Median of {found['rounds']} rounds, one thread, {found['machine']}, at a load average of {found['load']}; "
        f"commit {found['commit'][:7]}{'+' * found['commit'].endswith('+')}:"
    )
    columns = ("", "CPU seconds", "seconds")
    return Sheet(title=title, caption="", columns=columns, rows=rows, words=frozenset({""})).markdown()


if __name__ == "__main__":
    main()
