"""Time, memory and exactness of the loss beside its peers, interleaved in one process."""

import math
import random
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from benchmarks.loss_peers import ALPHA, TEMPERATURE, Step, variants
from benchmarks.memory import peak_bytes, synchronise
from llave.losses.functional import hardness_weighted_loss

__all__ = ["Measurement", "measure_loss", "regime"]

BYTES_PER_PAIR = {"original arithmetic": 30, "eager": 28, "llave reference": 32, "llave stored": 4, "CachedMNRL": 1}
"""Rough memory of the forms with N x N tensors, to skip what would not fit."""
LOSS = {"easy": 1e-4, "hard": 10.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One variant at one size. ``skipped`` says why there are no numbers.

    ``seconds`` is the median of the rounds, ``fastest`` and ``slowest`` their ends; ``peak_bytes`` is above the
    inputs; ``error_easy`` and ``error_hard`` are relative errors of the query gradient against float64 on the
    same inputs, where the variant computes the same formula.
    """

    variant: str
    size: int
    dim: int
    seconds: float | None = None
    fastest: float | None = None
    slowest: float | None = None
    peak_bytes: int | None = None
    error_easy: float | None = None
    error_hard: float | None = None
    skipped: str = ""


def regime(name: str, size: int, dim: int, *, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Unit vectors that are almost solved ("easy", loss about 1e-4) or not at all ("hard", about 10).

    Random unit vectors have cosines of variance 1/dim, so that ``size`` negatives add up to about
    ``size * exp(beta**2 / (2 * dim))`` with ``beta = 1/tau + alpha``; the positives' cosine follows from the loss.
    """
    generator = torch.Generator().manual_seed(size)
    query, other = (torch.nn.functional.normalize(torch.randn(size, dim, generator=generator)) for _ in range(2))
    beta = 1 / TEMPERATURE + ALPHA
    negatives = math.log(size) + beta**2 / (2 * dim)
    margin = LOSS[name] if LOSS[name] > 1 else math.log(LOSS[name])
    cosine = min(max((negatives - margin) * TEMPERATURE, 0.0), 0.99)
    target = cosine * query + math.sqrt(1 - cosine**2) * other
    target = torch.nn.functional.normalize(target, dim=-1)
    return query.to(device, dtype).requires_grad_(), target.to(device, dtype).requires_grad_()


def measure_loss(
    sizes: Sequence[int],
    dim: int,
    *,
    dtype: torch.dtype,
    device: torch.device,
    rounds: int,
    only: str = "",
    compiled: bool = False,
    memory: int,
    exact: int = 1 << 16,
    progress: bool = True,
) -> list[Measurement]:
    """Measure every variant whose name matches ``only``, a regular expression.

    Args:
        sizes: numbers of pairs.
        rounds: timed rounds; in each, every variant runs once, in an order of its own.
        memory: variants that would need more bytes than this are skipped.
        exact: errors against float64 are measured up to this many pairs.
    """
    steps = {name: step for name, step in variants(compiled=compiled).items() if re.search(only, name)}
    found: list[Measurement] = []
    console = Console(stderr=True)
    for size in sizes:
        inputs = {name: regime(name, size, dim, dtype=dtype, device=device) for name in LOSS}
        fits = {name: _needed(name, size) <= memory for name in steps}
        ready: dict[str, Step] = {}
        peaks: dict[str, int] = {}
        for name, step in steps.items():
            if fits[name]:
                _run(step, *inputs["hard"])  # warm-up
                peaks[name] = _peak(step, *inputs["hard"], device)
                ready[name] = step
        times: dict[str, list[float]] = {name: [] for name in ready}
        rounds_bar = track(
            range(rounds), description=f"N={size}", console=console, transient=True,
            disable=not (progress and console.is_terminal),
        )  # fmt: skip
        order, shuffle = list(ready.items()), random.Random(size)
        for _ in rounds_bar:
            shuffle.shuffle(order)  # whoever runs after a large variant finds cold caches
            for name, step in order:
                synchronise(device)
                start = time.perf_counter()
                _run(step, *inputs["hard"])
                synchronise(device)
                times[name].append(time.perf_counter() - start)
        errors = _errors(ready, inputs, size) if size <= exact else {name: {} for name in LOSS}
        for name in steps:
            if name not in ready:
                reason = f"needs about {_needed(name, size) / 2**30:.0f} GiB"
                found.append(Measurement(variant=name, size=size, dim=dim, skipped=reason))
                continue
            found.append(
                Measurement(
                    variant=name,
                    size=size,
                    dim=dim,
                    seconds=statistics.median(times[name]),
                    fastest=min(times[name]),
                    slowest=max(times[name]),
                    peak_bytes=peaks[name],
                    error_easy=errors["easy"].get(name),
                    error_hard=errors["hard"].get(name),
                )
            )
    return found


def to_json(found: Sequence[Measurement]) -> list[dict[str, Any]]:
    """For a file."""
    return [asdict(measurement) for measurement in found]


def _run(step: Step, query_ND: Tensor, target_ND: Tensor) -> None:
    query_ND.grad = target_ND.grad = None
    step(query_ND, target_ND)


def _peak(step: Step, query_ND: Tensor, target_ND: Tensor, device: torch.device) -> int:
    query_ND.grad = target_ND.grad = None  # freed, so that the peak counts them
    return peak_bytes(lambda: _run(step, query_ND, target_ND), device)


def _needed(name: str, size: int) -> int:
    return max((cost for key, cost in BYTES_PER_PAIR.items() if name.startswith(key)), default=0) * size * size


def _errors(ready: dict[str, Step], inputs: dict[str, tuple[Tensor, Tensor]], size: int) -> dict[str, dict[str, float]]:
    errors: dict[str, dict[str, float]] = {}
    for name, (query_ND, target_ND) in inputs.items():
        exact = query_ND.detach().double().requires_grad_()
        hardness_weighted_loss(
            exact, target_ND.detach().double(), temperature=TEMPERATURE, alpha=ALPHA, impl="tiled"
        ).backward()
        assert exact.grad is not None
        errors[name] = {}
        for variant, step in ready.items():
            if variant.startswith("CachedMNRL"):
                continue  # another formula
            _run(step, query_ND, target_ND)
            assert query_ND.grad is not None
            errors[name][variant] = float((query_ND.grad.double() - exact.grad).norm() / exact.grad.norm())
    return errors
