"""What is worth knowing of a GPU, in one command of at most eight minutes: ``make gpu``.

Tests, two ceilings (copying, multiplying), the loss, a training step of LLaVE-0.5B's size, vectors and a server, each
in a process of its own with a limit, so that one that fails or hangs costs itself alone. The result is written after
every part. It needs a checkout and an environment in which ``llave[serve]`` can be imported; weights are random.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.provenance import provenance
from llave.files import write_json

__all__ = ["PARTS", "main"]

ROOT = Path(__file__).parent.parent
TESTS = ("tests/losses/test_tiled.py", "tests/gpu")
DIM = 896
LAST_WORDS = 1500


def ceilings(small: bool) -> dict[str, Any]:
    """What this device reaches: bytes per second of a copy, read and written, and FLOP per second of a product."""
    import torch

    device = _device()
    source = torch.randn(1 << (20 if small else 30), device=device)
    target = torch.empty_like(source)
    found = {"copy_bytes": 2 * source.nbytes / _seconds(lambda: target.copy_(source), device)}
    source = target = torch.empty(0)
    side = 256 if small else 8192
    for name, dtype, precision in (
        ("bfloat16", torch.bfloat16, "highest"),
        ("float32", torch.float32, "highest"),
        ("float32 as tf32", torch.float32, "high"),
    ):
        torch.set_float32_matmul_precision(precision)
        left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        found[f"flops_{name}"] = 2 * side**3 / _seconds(lambda left=left, right=right: left @ right, device)  # type: ignore[misc]
    return found


def loss(small: bool) -> dict[str, Any]:
    """Every form of the loss on 16-bit embeddings."""
    return {
        "measurements": [*_loss([1024, 4096], "bfloat16", 7, "", small), *_loss([32_768], "bfloat16", 7, FEW, small)]
    }


def loss_float32(small: bool) -> dict[str, Any]:
    """The same on 32-bit ones."""
    return {"measurements": _loss([4096, 32_768], "float32", 3, FEW, small)}


def loss_large(small: bool) -> dict[str, Any]:
    """Of the forms that make no matrix of all scores, at the largest size."""
    return {"measurements": _loss([262_144], "bfloat16", 3, "auto|tiled|Inf-CL|both directions", small)}


FEW = "llave|original|eager|Inf-CL|1024"
"""CachedMNRL's time grows with the square of its number of mini-batches: at 32,768 pairs those of 32 take minutes."""


def _loss(sizes: list[int], dtype: str, rounds: int, only: str, small: bool) -> list[dict[str, Any]]:
    import torch

    from benchmarks.loss import measure_loss, to_json

    found = measure_loss(
        [size >> 8 if small else size for size in sizes],
        DIM,
        dtype=getattr(torch, dtype),
        device=_device(),
        rounds=rounds,
        only=only,
        memory=70 << 30,
    )
    return [{"dtype": dtype, **measurement} for measurement in to_json(found)]


def step(small: bool) -> dict[str, Any]:
    """A training step under GradCache, beside CachedMultipleNegativesRankingLoss."""
    import torch

    from benchmarks.shaped_model import SHAPES, shaped_model
    from benchmarks.train import ROWS, measure_train, work

    shape, dtype = (SHAPES["tiny"], torch.float32) if small else (SHAPES["0.5b"], torch.bfloat16)
    pairs, mini_batch_size = (4, 2) if small else (32, 8)
    with tempfile.TemporaryDirectory() as directory:
        model = shaped_model(shape, Path(directory), device=_device(), dtype=dtype)
    vision, language = work(model, shape.side)
    found = [
        asdict(measurement)
        for rows in ROWS
        for measurement in measure_train(
            model, shape.side, rows=rows, pairs=pairs, mini_batch_size=mini_batch_size, rounds=1 if small else 5
        )
    ]
    return {"vision_gflop": vision, "language_gflop": language, "mini_batch_size": mini_batch_size,
            "measurements": found}  # fmt: skip


def vectors(small: bool) -> dict[str, Any]:
    """Pictures from JPEG files and texts: our encoder, ``encode``, and the network alone on prepared input."""
    import random

    import numpy as np
    import torch
    from PIL import Image

    from benchmarks.serve import WORDS
    from benchmarks.shaped_model import SHAPES, shaped_model
    from benchmarks.train import work
    from llave.encode.encoder import Encoder
    from llave.encode.item import Item

    shape, dtype = (SHAPES["tiny"], torch.float32) if small else (SHAPES["0.5b"], torch.bfloat16)
    device = _device()
    draw, words = random.Random(0), WORDS.split()
    texts = [" ".join(draw.choices(words, k=draw.randint(3, 60))) for _ in range(8 if small else 4096)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model: Any = shaped_model(shape, folder / "model", device=device, dtype=dtype).eval()
        vision, language = work(model, shape.side)
        noise, files = np.random.default_rng(0), []
        for number in range(4 if small else 512):
            coarse = Image.fromarray(noise.integers(0, 255, (12, 16, 3), np.uint8))
            coarse.resize((640, 480), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg", quality=88)
            files.append(folder / f"{number}.jpg")
        encoder = Encoder(model)

        def ours(items: list[Item]) -> Any:
            return np.stack([np.asarray(vector) for vector in encoder(items)])

        def theirs(inputs: list[Any]) -> Any:
            return model.encode(inputs, normalize_embeddings=True, show_progress_bar=False)

        def opened() -> list[Any]:
            return [Image.open(file).convert("RGB") for file in files]

        def alone(inputs: list[Any]) -> Callable[[], Any]:
            batches = [model.preprocess(inputs[start : start + 32]) for start in range(0, len(inputs), 32)]
            batches = [{k: v.to(device) if hasattr(v, "to") else v for k, v in batch.items()} for batch in batches]
            return lambda: [model(dict(batch))["sentence_embedding"] for batch in batches]

        pictures, lines = [Item(image=file) for file in files], [Item(text=text) for text in texts]
        ordered = sorted(texts, key=len)
        work_of: dict[tuple[str, str], Callable[[], Any]] = {
            ("pictures", "llave"): lambda: ours(pictures),
            ("pictures", "encode"): lambda: theirs(opened()),
            ("pictures", "network alone"): alone(opened()[: len(files) // 2]),
            ("texts", "llave"): lambda: ours(lines),
            ("texts", "encode"): lambda: theirs(texts),
            ("texts", "network alone"): alone(ordered),
        }
        close = {
            kind: float((work_of[kind, "llave"]() * work_of[kind, "encode"]()).sum(1).min())
            for kind in ("pictures", "texts")
        }
        times: dict[tuple[str, str, str], list[float]] = {}
        for attention in ("sdpa", "eager"):
            model[0].model.set_attn_implementation(attention)
            with torch.no_grad():
                for key, job in work_of.items():
                    job()  # warm-up
                    times[(*key, attention)] = []
                for _ in range(3 if attention == "sdpa" and not small else 1):
                    for key, job in work_of.items():
                        times[(*key, attention)].append(_clock(job, device))
    counts = {"pictures": len(files), "texts": len(texts)}
    return {
        "gflop_of_a_picture": vision + language, "lowest_cosine_to_encode": close,
        "measurements": [
            {"kind": kind, "variant": variant, "attention": attention,
             "per_second": (counts[kind] // (2 if (kind, variant) == ("pictures", "network alone") else 1))
             / statistics.median(found), "rounds": len(found)}
            for (kind, variant, attention), found in times.items()
        ],
    }  # fmt: skip


def serve(small: bool) -> dict[str, Any]:
    """``llave serve`` beside FastAPI with ``encode``."""
    import torch

    from benchmarks.serve import measure_serve
    from benchmarks.shaped_model import SHAPES, shaped_model

    with tempfile.TemporaryDirectory() as directory:
        shape = SHAPES["tiny" if small else "0.5b"]
        shaped_model(shape, Path(directory), device=torch.device("cpu"), dtype=torch.bfloat16)
        found = measure_serve(
            str(Path(directory) / "model"),
            clients=(1, 4) if small else (1, 64),
            rounds=1 if small else 3,
            seconds=1.0 if small else 2.0,
            threads=1 if small else 4,
            near=0.05,
        )
    return {"measurements": [asdict(measurement) for measurement in found]}


def tests(small: bool) -> dict[str, Any]:
    """Those that need a GPU; on a CPU they are skipped."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", f"--junitxml={file}"]
        done = subprocess.run([*command, *TESTS], cwd=ROOT, capture_output=True, text=True)
        suite = next(ElementTree.parse(file).iter("testsuite"))
        failed = [
            f"{case.get('classname')}::{case.get('name')}: {problem.get('message', '')}"[:LAST_WORDS]
            for case in suite.iter("testcase")
            for problem in (*case.iter("failure"), *case.iter("error"))
        ]
    counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    if done.returncode not in {0, 1} or counts["tests"] == 0:
        raise RuntimeError(f"pytest ended with {done.returncode}: {done.stdout[-LAST_WORDS:]}")
    return {**counts, "failed_tests": failed}


PARTS: dict[str, tuple[Callable[[bool], dict[str, Any]], int]] = {
    "ceilings": (ceilings, 60),
    "tests": (tests, 200),
    "loss": (loss, 80),
    "loss_float32": (loss_float32, 60),
    "loss_large": (loss_large, 90),
    "step": (step, 120),
    "vectors": (vectors, 100),
    "serve": (serve, 150),
}
"""Name -> what measures it, and its limit in seconds."""


def main() -> int:
    """Run the parts, each in a process; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/gpu.json")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--small", action="store_true", help="tiny shapes: a rehearsal, on a CPU too")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        part, _ = PARTS[options.parts[0]]
        write_json(options.out, part(options.small))
        return 0
    found: dict[str, Any] = {**provenance(), **about(), "small": options.small, "parts": {}}
    for name in options.parts:
        found["parts"][name] = run_part(name, options.small)
        write_json(options.out, found, indent=1)
        outcome = found["parts"][name]
        sys.stdout.write(f"{name}: {outcome['seconds']:.0f} s {outcome.get('failed', '')}\n")
        sys.stdout.flush()
    return int(any("failed" in part or part.get("failed_tests") for part in found["parts"].values()))


def run_part(name: str, small: bool) -> dict[str, Any]:
    """What it measured and its ``seconds``; ``failed`` says why there is nothing else."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "part.json"
        command = [sys.executable, "-m", "benchmarks.gpu", "--one", "--parts", name, "--out", str(out)]
        process = subprocess.Popen(
            [*command, *(["--small"] if small else [])], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        )  # fmt: skip
        try:
            said, _ = process.communicate(timeout=PARTS[name][1])
            failed = "" if process.returncode == 0 else said[-LAST_WORDS:]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            said, _ = process.communicate()
            failed = f"took more than {PARTS[name][1]} s; {said[-LAST_WORDS:]}"
        measured = {"failed": failed} if failed else json.loads(out.read_text())
    return {"seconds": time.perf_counter() - start, **measured}


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


def _device() -> Any:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _clock(job: Callable[[], object], device: Any) -> float:
    from benchmarks.memory import synchronise

    synchronise(device)
    start = time.perf_counter()
    job()
    synchronise(device)
    return time.perf_counter() - start


def _seconds(job: Callable[[], object], device: Any, rounds: int = 9) -> float:
    for _ in range(3):
        job()
    return statistics.median(_clock(job, device) for _ in range(rounds))


if __name__ == "__main__":
    sys.exit(main())
