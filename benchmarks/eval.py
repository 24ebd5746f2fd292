"""A whole evaluation (reading, encoding, scoring): ours beside VLM2Vec's way, ``SentenceTransformer.encode`` and mteb.

The same model, rows and machine, interleaved in one process, without caches. Scores are compared before any time is
told. Beside the time stands the work, which no neighbour on the machine can disturb: items and tokens (with padding)
that passed the model, and tiles that passed its vision tower.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from rich.console import Console
from rich.progress import track
from sentence_transformers import SentenceTransformer
from torch import nn

from benchmarks.eval_peers import Outcome, encode_each, run_mteb, vlm2vec
from benchmarks.memory import synchronise
from llave.data.mmeb import MMEBFolder
from llave.data.tables import read_table
from llave.errors import DataError, UserError
from llave.evaluation.benchmarks import Benchmark, get_benchmark
from llave.evaluation.result import TaskResult
from llave.evaluation.runner import evaluate
from llave.models.tower_reuse import vision_tower

__all__ = ["BASE", "EvalMeasurement", "compare", "first_rows", "measure_eval"]

BASE = "llave"
NEAR = 1e-5
"""Two cosines that differ by less are a tie: which one is higher depends on the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalMeasurement:
    """One variant; ``failed`` says why there are no numbers.

    ``seconds`` is the median of the rounds, ``fastest`` and ``slowest`` their ends; ``cpu_seconds`` and the three
    phases are medians too. ``difference`` is the largest between a cosine and ours (None: it tells no cosines);
    ``ties`` counts rows that are a hit in one and a miss in the other, their two best cosines nearer than 1e-5.
    """

    variant: str
    items: int = 0
    tokens: int = 0
    tiles: int = 0
    seconds: float | None = None
    fastest: float | None = None
    slowest: float | None = None
    cpu_seconds: float | None = None
    reading: float | None = None
    encoding: float | None = None
    scoring: float | None = None
    difference: float | None = None
    ties: int = 0
    failed: str = ""


@dataclass(slots=True)
class _Work:
    items: int = 0
    tokens: int = 0
    tiles: int = 0


@dataclass(slots=True)
class _Rounds:
    outcome: Outcome
    work: _Work
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    phases: list[Mapping[str, float]] = field(default_factory=list)


def first_rows(folder: Path, into: Path, *, limit: int, candidates: int | None = None) -> Path:
    """A copy of a folder with the first rows of each data set, and the first candidates of each row."""
    source = MMEBFolder(folder)
    (into / "eval").mkdir(parents=True)
    for name in source.names("eval"):
        rows = [
            {key: value[:candidates] if key.startswith("tgt_") and value else value for key, value in row.items()}
            for row in islice(read_table(source.path("eval", name)), limit)
        ]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), into / "eval" / f"{name}.parquet")
    for name in ("images", "benchmark.json"):
        if (folder / name).exists():
            (into / name).symlink_to((folder / name).resolve())
    return into


def measure_eval(
    model: SentenceTransformer,
    folder: Path,
    *,
    limit: int,
    candidates: int | None = None,
    batch_size: int = 16,
    rounds: int = 5,
    only: str = "",
    progress: bool = True,
) -> list[EvalMeasurement]:
    """Measure every variant on the first rows of a folder in MMEB's format; ours comes first.

    Args:
        model: in evaluation mode.
        limit: rows of each data set.
        candidates: of each row; None is all.
        batch_size: of the peers but VLM2Vec, which takes 4; ours takes its defaults.
        rounds: timed rounds; in each, every variant runs once, in an order of its own.
        only: leave out variants whose name does not contain this. Ours always runs.

    Raises:
        UserError: a variant that finds other scores.
    """
    with tempfile.TemporaryDirectory() as place:
        root = first_rows(folder, Path(place) / "rows", limit=limit, candidates=candidates)
        small = first_rows(folder, Path(place) / "warm", limit=1, candidates=2)
        variants = {
            name: run for name, run in _variants(model, Path(place), batch_size).items() if only in name or name == BASE
        }
        done: dict[str, _Rounds] = {}
        failed: dict[str, str] = {}
        for name, run in variants.items():
            try:
                run(small)
            except (ImportError, ValueError, RuntimeError, DataError) as error:
                failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
        order, shuffle = [name for name in variants if name not in failed], random.Random(0)
        console = Console(stderr=True)
        for _ in track(
            range(rounds), "rounds", console=console, transient=True, disable=not (progress and console.is_terminal)
        ):
            shuffle.shuffle(order)
            for name in order:
                _time(model, name, variants[name], root, done)
    return [_summary(name, done[name], done[BASE]) for name in variants if name in done] + [
        EvalMeasurement(variant=name, failed=reason) for name, reason in failed.items()
    ]


def _variants(model: SentenceTransformer, place: Path, batch_size: int) -> dict[str, Callable[[Path], Outcome]]:
    return {
        BASE: partial(_ours, model, apart=False),
        "llave, data sets apart": partial(_ours, model, apart=True),
        "encode, each data set": partial(encode_each, model, out=place, batch_size=batch_size),
        "mteb": partial(run_mteb, model, batch_size=batch_size),
        "VLM2Vec's way": partial(vlm2vec, model, out=place),
    }


def _ours(model: SentenceTransformer, root: Path, *, apart: bool) -> Outcome:
    """``apart``: one evaluation per data set, so that nothing is shared between them."""
    benchmark, outcome = get_benchmark(root), Outcome()
    parts = [Benchmark(benchmark.name, [task]) for task in benchmark.tasks] if apart else [benchmark]
    for part in parts:
        result = evaluate(model, part, progress=False)
        outcome.hits |= {name: task.p_at_1 for name, task in result.tasks.items()}
        outcome.cosines |= {name: _best(task) for name, task in result.tasks.items()}
        for name, seconds in result.phases.items():
            outcome.phases[name] += seconds
    return outcome


def _best(task: TaskResult) -> Any:
    """(R, 2) cosines of the best relevant and of the best other candidate."""
    pairs = [(row.scores[: len(row.gains)].max(), row.scores[len(row.gains) :].max(initial=-1.0)) for row in task.rows]
    return np.array(pairs, dtype=np.float32)


def _time(
    model: SentenceTransformer, name: str, run: Callable[[Path], Outcome], root: Path, done: dict[str, _Rounds]
) -> None:
    with _counting(model) as work:
        synchronise(model.device)
        start, cpu_start = time.perf_counter(), time.process_time()
        outcome = run(root)
        synchronise(model.device)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    rounds = done.setdefault(name, _Rounds(outcome, work))
    rounds.seconds.append(seconds)
    rounds.cpu_seconds.append(cpu_seconds)
    rounds.phases.append(outcome.phases)


@contextmanager
def _counting(model: SentenceTransformer) -> Iterator[_Work]:
    """Count what passes the model and, in its vision tower, the patch embedding."""
    work = _Work()

    def count(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        work.items += len(arguments[0]["attention_mask"])
        work.tokens += arguments[0]["attention_mask"].numel()

    def count_tiles(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        work.tiles += len(arguments[0])

    hooks = [model[0].register_forward_pre_hook(count)]
    tower = vision_tower(getattr(model[0], "model", None))
    patches = next((part for part in tower.modules() if isinstance(part, nn.Conv2d)), None) if tower else None
    if patches is not None:
        hooks.append(patches.register_forward_pre_hook(count_tiles))
    try:
        yield work
    finally:
        for hook in hooks:
            hook.remove()


def _summary(name: str, rounds: _Rounds, base: _Rounds) -> EvalMeasurement:
    difference, ties = compare(name, rounds.outcome, base.outcome)
    phases = {key: statistics.median(found[key] for found in rounds.phases) for key in rounds.phases[0]}
    return EvalMeasurement(
        variant=name,
        items=rounds.work.items,
        tokens=rounds.work.tokens,
        tiles=rounds.work.tiles,
        seconds=statistics.median(rounds.seconds),
        fastest=min(rounds.seconds),
        slowest=max(rounds.seconds),
        cpu_seconds=statistics.median(rounds.cpu_seconds),
        reading=phases["reading"],
        encoding=phases["encoding"],
        scoring=phases["scoring"],
        difference=difference,
        ties=ties,
    )


def compare(name: str, outcome: Outcome, base: Outcome) -> tuple[float | None, int]:
    """The largest difference of a cosine, and the rows that a tie decides otherwise.

    Raises:
        UserError: other scores, or another cosine.
    """
    ties, difference = 0, 0.0
    if outcome.hits.keys() != base.hits.keys():
        raise UserError(f"{name} scores {sorted(outcome.hits)}, llave {sorted(base.hits)}")
    for task, cosine_R2 in base.cosines.items():
        differing = round(abs(outcome.hits[task] - base.hits[task]) * len(cosine_R2))
        if differing > np.count_nonzero(np.abs(cosine_R2[:, 0] - cosine_R2[:, 1]) < NEAR):
            raise UserError(f"{task}: {name} finds hit@1 {outcome.hits[task]}, llave {base.hits[task]}; no times")
        ties += differing
        if task in outcome.cosines:
            difference = max(difference, float(np.abs(outcome.cosines[task] - cosine_R2).max()))
    if outcome.cosines and difference > NEAR:
        raise UserError(f"{name}: a cosine differs from llave's by {difference:.0e}; no times")
    return (difference if outcome.cosines else None), ties
