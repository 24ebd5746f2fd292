"""MaxSim with its gradient: tiled, plain, and sentence-transformers'. Imports little, because memory is measured."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["SHAPES", "VARIANTS", "kernel_batch", "measure_kernels"]

ROUNDS = 5
SHAPES = {"captions": (64, 16, 128, 6), "short documents": (64, 24, 64, 256), "pages": (16, 24, 16, 768)}
"""Queries, their tokens, documents, theirs; of 128 dimensions."""
ALONE = """
import json, re, sys
from pathlib import Path
from benchmarks.late_kernels import VARIANTS, kernel_batch
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
name, shape = json.loads(sys.argv[1])
VARIANTS[name](*kernel_batch(2, 2, 2, 2))
given = kernel_batch(*shape)
Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
before = peak()
VARIANTS[name](*given)
print(peak() - before)
"""


def kernel_batch(N: int, T: int, M: int, S: int, D: int = 128) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries and documents of random unit vectors, a fifth of the tokens masked."""
    generator = torch.Generator().manual_seed(0)
    sides = []
    for rows, tokens in ((N, T), (M, S)):
        value = torch.nn.functional.normalize(torch.randn(rows, tokens, D, generator=generator), dim=-1)
        mask = torch.rand(rows, tokens, generator=generator) < 0.8
        mask[:, 0] = True
        sides += [value.requires_grad_(), mask]
    return sides[0], sides[1], sides[2], sides[3]


def _ours(impl: Any) -> Callable[..., None]:
    from llave.losses.maxsim import maxsim

    def step(query: Tensor, query_mask: Tensor, document: Tensor, document_mask: Tensor) -> None:
        maxsim(query, query_mask, document, document_mask, impl=impl).square().sum().backward()

    return step


def _theirs(query: Tensor, query_mask: Tensor, document: Tensor, document_mask: Tensor) -> None:
    from sentence_transformers.multi_vector_encoder.scoring import mean_colbert_scores

    scores = mean_colbert_scores(
        query, document[:, None], queries_mask=query_mask, documents_mask=document_mask[:, None]
    )
    scores.square().sum().backward()


VARIANTS: dict[str, Callable[..., None]] = {
    "tiled": _ours("tiled"),
    "plain": _ours("reference"),
    "sentence-transformers": _theirs,
}


def measure_kernels(shape: tuple[int, ...]) -> dict[str, Any]:
    """Median seconds of forward and backward, interleaved, and bytes at the peak beyond the inputs, each in a process
    of its own."""
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for step in VARIANTS.values():
        step(*kernel_batch(*shape))  # warm-up
    for _ in range(ROUNDS):
        for name, step in VARIANTS.items():
            given = kernel_batch(*shape)
            start = time.perf_counter()
            step(*given)
            times[name].append(time.perf_counter() - start)
    peaks = {}
    for name in VARIANTS:
        command = [sys.executable, "-c", ALONE, json.dumps([name, shape])]
        peaks[name] = 1024 * int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"seconds": {name: statistics.median(values) for name, values in times.items()}, "peak_bytes": peaks}
