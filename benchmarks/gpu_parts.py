"""What :mod:`benchmarks.gpu` measures, a function a part; each yields all that it has, as often as there is more."""

import random
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.loss import measure_loss, to_json
from benchmarks.memory import synchronise
from benchmarks.serve import WORDS, measure_serve
from benchmarks.shaped_model import SHAPES, shaped_model
from benchmarks.train import ROWS, measure_train, work
from llave.encode.encoder import Encoder
from llave.encode.item import Item

__all__ = ["ceilings", "loss", "loss_float32", "loss_large", "serve", "step", "tests", "vectors"]

Found = Iterator[dict[str, Any]]
ROOT = Path(__file__).parent.parent
TESTS = ("tests/losses/test_tiled.py", "tests/gpu")
DIM = 896
LAST_WORDS = 1500


def ceilings(small: bool) -> Found:
    """What this device reaches: bytes per second of a copy, read and written, and FLOP per second of a product."""
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
    yield found


def loss(small: bool) -> Found:
    """Every form of the loss on 16-bit embeddings."""
    found = _loss([1024, 4096], "bfloat16", 7, "", small)
    yield {"measurements": found}
    yield {"measurements": [*found, *_loss([32_768], "bfloat16", 7, FEW, small)]}


def loss_float32(small: bool) -> Found:
    """The same on 32-bit ones."""
    yield {"measurements": _loss([4096, 32_768], "float32", 3, FEW, small)}


def loss_large(small: bool) -> Found:
    """Of the forms that make no matrix of all scores, at the largest size."""
    yield {"measurements": _loss([262_144], "bfloat16", 3, "auto|tiled|Inf-CL|both directions", small)}


FEW = "llave|original|eager|Inf-CL|1024"
"""CachedMNRL's time grows with the square of its number of mini-batches: at 32,768 pairs those of 32 take minutes."""


def _loss(sizes: list[int], dtype: str, rounds: int, only: str, small: bool) -> list[dict[str, Any]]:
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


def step(small: bool) -> Found:
    """A training step under GradCache, beside CachedMultipleNegativesRankingLoss."""
    shape, dtype = (SHAPES["tiny"], torch.float32) if small else (SHAPES["0.5b"], torch.bfloat16)
    pairs, mini_batch_size = (4, 2) if small else (32, 8)
    with tempfile.TemporaryDirectory() as directory:
        model = shaped_model(shape, Path(directory), device=_device(), dtype=dtype)
    vision, language = work(model, shape.side)
    found: dict[str, Any] = {"vision_gflop": vision, "language_gflop": language, "mini_batch_size": mini_batch_size}
    found["measurements"] = []
    for rows in ROWS:
        measured = measure_train(
            model, shape.side, rows=rows, pairs=pairs, mini_batch_size=mini_batch_size, rounds=1 if small else 5,
            only="^CachedMNRL|^llave$|by tokens$|, all graphs$",
        )  # fmt: skip
        found["measurements"] += [asdict(measurement) for measurement in measured]
        yield found


def vectors(small: bool) -> Found:
    """Pictures from JPEG files and texts: our encoder, ``encode``, and the network alone on prepared input."""
    shape, dtype = (SHAPES["tiny"], torch.float32) if small else (SHAPES["0.5b"], torch.bfloat16)
    device = _device()
    draw, words = random.Random(0), WORDS.split()
    texts = [" ".join(draw.choices(words, k=draw.randint(3, 60))) for _ in range(8 if small else 2048)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model: Any = shaped_model(shape, folder / "model", device=device, dtype=dtype).eval()
        vision, language = work(model, shape.side)
        noise, files = np.random.default_rng(0), []
        for number in range(4 if small else 128):
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
        jobs: dict[tuple[str, str], Callable[[], Any]] = {
            ("pictures", "llave"): lambda: ours(pictures),
            ("pictures", "encode"): lambda: theirs(opened()),
            ("pictures", "network alone"): alone(opened()),
            ("texts", "llave"): lambda: ours(lines),
            ("texts", "encode"): lambda: theirs(texts),
            ("texts", "network alone"): alone(ordered),
        }
        close = {
            kind: float((jobs[kind, "llave"]() * jobs[kind, "encode"]()).sum(1).min()) for kind in ("pictures", "texts")
        }
        counts = {"pictures": len(files), "texts": len(texts)}
        found: dict[str, Any] = {"gflop_of_a_picture": vision + language, "lowest_cosine_to_encode": close}
        found["measurements"] = []
        for attention, rounds in (("sdpa", 1 if small else 5), ("eager", 1)):
            model[0].model.set_attn_implementation(attention)
            with torch.no_grad():
                for job in jobs.values():
                    job()  # warm-up
                times = [[_clock(job, device) for job in jobs.values()] for _ in range(rounds)]
            for (kind, variant), seconds in zip(jobs, zip(*times, strict=True), strict=True):
                found["measurements"].append(
                    {
                        "kind": kind, "variant": variant, "attention": attention, "rounds": rounds,
                        "per_second": counts[kind] / statistics.median(seconds),
                    }
                )  # fmt: skip
            yield found


def serve(small: bool) -> Found:
    """``llave serve`` beside FastAPI with ``encode``."""

    with tempfile.TemporaryDirectory() as directory:
        shape = SHAPES["tiny" if small else "0.5b"]
        shaped_model(shape, Path(directory), device=torch.device("cpu"), dtype=torch.bfloat16)
        found = measure_serve(
            str(Path(directory) / "model"),
            clients=(1, 4) if small else (1, 64),
            rounds=1 if small else 3,
            seconds=1.0 if small else 1.5,
            threads=1 if small else 4,
            near=0.05,
        )
    yield {"measurements": [asdict(measurement) for measurement in found]}


def tests(small: bool) -> Found:
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
    yield {**counts, "failed_tests": failed}


def _device() -> Any:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _clock(job: Callable[[], object], device: Any) -> float:

    synchronise(device)
    start = time.perf_counter()
    job()
    synchronise(device)
    return time.perf_counter() - start


def _seconds(job: Callable[[], object], device: Any, rounds: int = 9) -> float:
    for _ in range(3):
        job()
    return statistics.median(_clock(job, device) for _ in range(rounds))
