"""``llave serve`` beside infinity (``infinity_emb v2``) and a plain FastAPI server, which all open the same CLIP.

    python3 -m venv DIR && DIR/bin/pip install 'infinity-emb[all]==0.0.78' aiohttp
    python -m benchmarks.serve_infinity --infinity DIR/bin/python --out benchmarks/results/serve_infinity.json

infinity needs older libraries than ours, and so an environment of its own, outside the project; the first line makes
it. The model has the class and sizes of ``openai/clip-vit-base-patch32`` and random weights. (With a SigLIP infinity
does not pad texts as the model was trained, and its vectors are others.) All three take the same bytes: texts, and
pictures as infinity has them, ``"modality": "image"`` and data URIs. As in :mod:`benchmarks.serve`, no request is sent
twice, and vectors are compared before any time is told.

infinity runs as its own command starts it, with :data:`OPTIONS`: torch, batches of 32 (its default), no
BetterTransformer (which it applies to models of texts alone), no cache of vectors (its default), and no warm-up of its
own: every server meets the clients for a second before it is measured. ``OMP_NUM_THREADS`` tells all as many threads.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.clip_model import write_clip
from benchmarks.provenance import provenance
from benchmarks.replicas import busy_seconds
from benchmarks.serve import (
    IN_THREADS,
    OURS,
    ServeMeasurement,
    measure_servers,
    picture_requests,
    running,
    server_process,
    text_requests,
)
from benchmarks.sheet import Sheet
from benchmarks.tables import serve_sheet
from llave.files import write_json
from llave.terminal import quiet_libraries

__all__ = ["INFINITY", "infinity_sheet", "without_place"]

INFINITY = "infinity-emb"
KINDS = ("texts", "pictures")
PACKAGES = (
    "torch", "transformers", "tokenizers", "sentence-transformers", "pillow", "fastapi", "uvicorn", "uvloop",
    "infinity-emb", "optimum",
)  # fmt: skip
COMMAND = "from infinity_emb.cli import cli; cli()"
OPTIONS = (
    "--engine", "torch", "--device", "cpu", "--dtype", "float32", "--no-model-warmup", "--no-bettertransformer",
    "--log-level", "error",
)  # fmt: skip
OFFLINE = {"HF_HUB_OFFLINE": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
FLOAT32 = {"LLAVE_BFLOAT16": "never"}
"""infinity's type on a processor, whatever that is quick in."""
ASK_VERSIONS = """
import importlib.metadata, json, platform
installed = {each.name.lower().replace("_", "-"): each.version for each in importlib.metadata.distributions()}
print(json.dumps({"python": platform.python_version(), **installed}))
"""


def main() -> None:
    """Measure, print a table, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--infinity", required=True, help="python of its environment")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--clients", nargs="+", type=int, default=(1, 8, 64))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--threads", type=int, default=2, help="of torch, in each server")
    parser.add_argument("--batch_size", type=int, default=32, help="infinity's")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    os.environ |= {**OFFLINE, **FLOAT32, "OMP_NUM_THREADS": str(args.threads)}  # for all that starts here
    quiet_libraries()
    makers = {"texts": text_requests(0), "pictures": picture_requests(1, modality=True)}
    began, busy, own = time.monotonic(), busy_seconds(), _own_seconds()
    with tempfile.TemporaryDirectory(prefix="llave-") as folder:
        model = str(write_clip(Path(folder) / "clip"))
        found = measure_servers(
            _servers(model, args.infinity, folder, args.threads, args.batch_size),
            {kind: makers[kind] for kind in args.kinds},
            peers=(INFINITY,),
            clients=args.clients,
            rounds=args.rounds,
            seconds=args.seconds,
        )
    others = (busy_seconds() - busy - _own_seconds() + own) / (time.monotonic() - began)
    title = (
        f"CLIP ViT-B/32's shape on cpu, {args.threads} torch threads, closed-loop clients on the same machine, "
        f"{args.seconds:g} s each, median of {args.rounds}"
    )
    about = provenance()
    content = {
        **about,
        "command": without_place(about["command"], args.infinity),
        "title": title,
        "others_cores": others,
        "infinity_options": [*OPTIONS, "--batch-size", str(args.batch_size)],
        "versions": {OURS: _versions(sys.executable), INFINITY: _versions(args.infinity)},
        "measurements": [asdict(each) for each in found],
    }
    Console(width=None if sys.stdout.isatty() else 160).print(infinity_sheet(content).table())
    if args.out is not None:
        write_json(args.out, content, indent=1)


def infinity_sheet(content: Mapping[str, Any]) -> Sheet:
    """Rate and latency of each server, and how busy the machine was."""
    title = (
        f"{content['title']}; other work took {content['others_cores']:.1f} of the cores · {content['machine']}; "
        f"commit {content['commit'][:7]}"
    )
    return serve_sheet([ServeMeasurement(**each) for each in content["measurements"]], title, beside="infinity")


def without_place(command: str, python: str) -> str:
    """Without the folder of an interpreter, which is of this machine."""
    return command.replace(python, f"DIR/bin/{Path(python).name}")


def _servers(
    model: str, python: str, folder: str, threads: int, batch_size: int
) -> Mapping[str, AbstractContextManager[tuple[int, int]]]:
    def words(port: int) -> list[str]:
        where = ["--host", "127.0.0.1", "--port", str(port), "--url-prefix", "/v1"]
        return ["-c", COMMAND, "v2", "--model-id", model, *where, *OPTIONS, "--batch-size", str(batch_size)]

    infinity = server_process(
        INFINITY,
        words,
        python=python,
        ready="/health",
        environment={"INFINITY_HOME": folder},  # where its folder of caches goes
    )
    return {OURS: running(OURS, model, threads), INFINITY: infinity, IN_THREADS: running(IN_THREADS, model, threads)}


def _versions(python: str) -> dict[str, str]:
    """Of an environment's packages that count here."""
    said = subprocess.run([python, "-P", "-c", ASK_VERSIONS], capture_output=True, text=True, check=True).stdout
    installed: dict[str, str] = json.loads(said)
    return {name: installed[name] for name in ("python", *PACKAGES) if name in installed}


def _own_seconds() -> float:
    """Processor time of this process, and of those it started that have ended."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    main()
