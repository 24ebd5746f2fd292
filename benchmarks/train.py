"""One training step under GradCache: ours beside sentence-transformers' CachedMultipleNegativesRankingLoss.

The same model, rows, mini-batches and formula (InfoNCE in both directions, alpha = 0, which the peer can express too),
so that the gradients agree; interleaved in one process.
"""

import random
import re
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.memory import peak_bytes, synchronise
from llave.losses.hardness import HardnessWeightedLoss
from llave.losses.minibatch import create_minibatch

__all__ = ["BASE", "REPAIRED", "ROWS", "StepMeasurement", "measure_train", "work"]

BASE = "CachedMNRL"
REPAIRED = "CachedMNRL, slicing repaired"
TEMPERATURE = 0.02
ROWS = ("pairs", "mixed")
Columns = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMeasurement:
    """One variant on one kind of rows; ``failed`` says why there are no numbers.

    ``seconds`` is the median of the rounds, ``fastest`` and ``slowest`` their ends; ``peak_bytes`` is above the model
    and its inputs; ``error`` is the relative error of the gradient against the whole batch embedded at once, where that
    fits into memory.
    """

    rows: str
    variant: str
    pairs: int
    seconds: float | None = None
    fastest: float | None = None
    slowest: float | None = None
    peak_bytes: int | None = None
    error: float | None = None
    failed: str = ""


class RepairedCachedMNRL(CachedMultipleNegativesRankingLoss):
    """The peer with our slicing of mini-batches: what it would do, if it did not stop at mixed rows."""

    def embed_minibatch(
        self,
        sentence_feature: dict[str, Any],
        begin: int,
        end: int,
        with_grad: bool,
        copy_random_state: bool,
        random_state: Any = None,
    ) -> Any:
        """See its parent; the column becomes the mini-batch alone."""
        part = create_minibatch(sentence_feature, begin, end, video_token_id=None)
        return super().embed_minibatch(part, 0, end - begin, with_grad, copy_random_state, random_state)


def measure_train(
    model: SentenceTransformer,
    side: int,
    *,
    rows: str,
    pairs: int,
    mini_batch_size: int,
    rounds: int,
    only: str = "",
    progress: bool = True,
) -> list[StepMeasurement]:
    """Measure every variant whose name matches ``only``, a regular expression, on rows of a kind.

    Args:
        model: in training mode, its vision tower frozen.
        side: of the pictures, in pixels.
        rows: "pairs" (picture and question to a short answer) or "mixed" (every second query a text of any length).
        pairs: rows of the batch.
        mini_batch_size: rows embedded at a time.
        rounds: timed rounds; in each, every variant runs once, in an order of its own.
    """
    features = [model.preprocess(column) for column in _columns(side, pairs, mixed=rows == "mixed")]
    features = [{key: _to(value, model.device) for key, value in column.items()} for column in features]
    try:
        exact = _gradient(model, HardnessWeightedLoss(model, temperature=TEMPERATURE, alpha=0.0), features)
    except torch.OutOfMemoryError:
        exact = None
    steps: dict[str, Callable[[], None]] = {}
    failed: dict[str, str] = {}
    errors: dict[str, float] = {}
    peaks: dict[str, int] = {}
    longest = max(int(column["attention_mask"].sum(1).max()) for column in features)
    for name, loss in _variants(model, pairs, mini_batch_size, mini_batch_size * longest, rows).items():
        if not re.search(only, name):
            continue
        try:
            gradient = _gradient(model, loss, features)
        except (ValueError, RuntimeError) as error:
            failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            continue
        steps[name] = _step(model, loss, features)
        if exact is not None:
            errors[name] = float((gradient - exact).norm() / exact.norm())
        del gradient
        peaks[name] = peak_bytes(steps[name], model.device)
    times: dict[str, list[float]] = {name: [] for name in steps}
    console = Console(stderr=True)
    order, shuffle = list(steps.items()), random.Random(0)
    for _ in track(
        range(rounds), description=rows, console=console, transient=True, disable=not (progress and console.is_terminal)
    ):
        shuffle.shuffle(order)
        for name, step in order:
            synchronise(model.device)
            start = time.perf_counter()
            step()
            synchronise(model.device)
            times[name].append(time.perf_counter() - start)
    found = [StepMeasurement(rows=rows, variant=name, pairs=pairs, failed=reason) for name, reason in failed.items()]
    return found + [
        StepMeasurement(
            rows=rows,
            variant=name,
            pairs=pairs,
            seconds=statistics.median(values),
            fastest=min(values),
            slowest=max(values),
            peak_bytes=peaks[name],
            error=errors.get(name),
        )
        for name, values in times.items()
    ]


def work(model: SentenceTransformer, side: int) -> tuple[float, float]:
    """GFLOP of a pair's forward pass: in the vision tower, and in all the rest."""
    features = [model.preprocess(column) for column in _columns(side, 1, mixed=False)]
    network: Any = model[0].model
    usual = network.config._attn_implementation
    network.set_attn_implementation("eager")  # the counter refuses SDPA where several heads share a key, as on a GPU
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for column in features:
            model({key: _to(value, model.device) for key, value in column.items()})
    network.set_attn_implementation(usual)
    counts = counter.get_flop_counts()
    vision = sum(sum(count.values()) for name, count in counts.items() if name.endswith(".vision_tower"))
    return vision / 1e9, (counter.get_total_flops() - vision) / 1e9


def _variants(
    model: SentenceTransformer, pairs: int, mini_batch_size: int, num_tokens: int, rows: str
) -> Mapping[str, nn.Module]:
    half = -(-pairs // mini_batch_size)  # of the mini-batches of both columns
    by_rows, by_tokens = {"mini_batch_size": mini_batch_size}, {"mini_batch_num_tokens": num_tokens}

    def peer(kind: type[CachedMultipleNegativesRankingLoss], options: dict[str, int]) -> nn.Module:
        return kind(
            model,
            scale=1 / TEMPERATURE,
            directions=("query_to_doc", "doc_to_query"),
            partition_mode="per_direction",
            **options,  # type: ignore[arg-type]
        )

    def ours(options: dict[str, int], **more: Any) -> HardnessWeightedLoss:
        settings: dict[str, Any] = {**options, **more}
        return HardnessWeightedLoss(model, temperature=TEMPERATURE, alpha=0.0, **settings)

    variants: dict[str, nn.Module] = {BASE: peer(CachedMultipleNegativesRankingLoss, by_rows)}
    works: type[CachedMultipleNegativesRankingLoss] = CachedMultipleNegativesRankingLoss
    if rows == "mixed":
        works = RepairedCachedMNRL
        variants[REPAIRED] = peer(works, by_rows)
    return variants | {
        f"{BASE}, by tokens": peer(works, by_tokens),
        "llave": ours(by_rows),
        "llave, by tokens": ours(by_tokens),
        "llave, by tokens, all graphs": ours(by_tokens, keep_graphs=2 * half),
        "llave, half of the graphs": ours(by_rows, keep_graphs=half),
        "llave, all graphs": ours(by_rows, keep_graphs=2 * half),
        "llave, rows as they come": ours(by_rows, sort_by_length=False),
        "llave, tower twice": ours(by_rows, vision_reuse_gib=0.0),
    }


def _columns(side: int, pairs: int, *, mixed: bool) -> tuple[list[Any], list[str]]:
    """A picture and its question, and a short answer; mixed: every second query is a text of 4 to 60 bytes."""
    draw = random.Random(0)
    queries: list[Any] = []
    for number in range(pairs):
        if mixed and number % 2:
            queries.append("text of some length, as questions and captions are in practice"[: draw.randint(4, 60)])
        else:
            picture = Image.effect_noise((side, side), 50 + number % 100).convert("RGB")
            queries.append({"image": picture, "text": "What?"})
    return queries, [f"answer {number}" for number in range(pairs)]


def _step(model: SentenceTransformer, loss: nn.Module, features: Columns) -> Callable[[], None]:
    def run() -> None:
        model.zero_grad()
        loss([dict(column) for column in features], None).backward()

    return run


def _gradient(model: SentenceTransformer, loss: nn.Module, features: Columns) -> Tensor:
    _step(model, loss, features)()
    gradient = torch.cat([p.grad.flatten().double() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    return gradient


def _to(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value
