"""Train and evaluate every variant with every seed; what is done is skipped."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import distributed

from llave.ablation.grid import Grid, Variant
from llave.errors import UserError
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.record import code
from llave.evaluation.runner import evaluate
from llave.evaluation.similarity_gap import similarity_gap
from llave.files import remove_leftovers, write_json
from llave.models.nano_features import use_feature_cache
from llave.models.open import load_model
from llave.terminal import quiet_libraries
from llave.training.config import TrainConfig
from llave.training.run import train

__all__ = ["Score", "ablate", "load_scores"]

Configure = Callable[[Variant], TrainConfig]


@dataclasses.dataclass(frozen=True, slots=True)
class Score:
    """P@1 of one training run, as fractions: per group (meta-tasks, ``ind``, ``ood``, ``overall``) and per data set.

    ``gap_hard`` is the mean over data sets of the positives' cosine less the hard negatives'; ``overlaps`` are the
    shared areas of their histograms. ``curve`` has the groups after each evaluation while it trained (a recipe's
    ``evaluate``), with its ``step``. ``commit`` is that of llave which made it, empty outside of a checkout.
    """

    variant: str
    seed: int
    groups: dict[str, float]
    datasets: dict[str, float]
    queries: dict[str, int]
    gap_hard: float
    changes: dict[str, Any]
    overlaps: dict[str, float] = dataclasses.field(default_factory=dict)
    curve: list[dict[str, float]] = dataclasses.field(default_factory=list)
    commit: str = ""


def ablate(
    grid: Grid,
    configure: Configure,
    out: Path,
    *,
    benchmark: str,
    seeds: Sequence[int],
    part: tuple[int, int] = (0, 1),
    limit: int | None = None,
    keep_models: bool = False,
    console: Console | None = None,
) -> list[Score]:
    """Scores of all cells that are done, those of this call included.

    Seeds are the outer loop, so that an ablation that is stopped early compares all variants on the seeds it has.
    Under torchrun every process trains, and the first one evaluates.

    Args:
        grid: what to vary.
        configure: from a variant to the recipe with its changes.
        out: holds ``cells/`` with a JSON file per cell, and the models while they are needed.
        benchmark: folder or name.
        part: (k, n): only every n-th cell from the k-th on, for n machines or processes that share ``out``.
        limit: only the first rows of each evaluation data set.
        keep_models: do not delete a model once it is evaluated.

    Raises:
        UserError: a change that the recipe refuses, or ``out`` of another ablation.
    """
    console = console or Console(stderr=True)
    quiet_libraries()
    number, parts = part
    commit = code().get("commit", "")  # before the first run: what this process has imported
    configs = {variant.name: configure(variant) for variant in grid.variants}  # a typo ends it before the first run
    tasks = get_benchmark(benchmark)
    cells = [(seed, variant) for seed in seeds for variant in grid.variants]
    remove_leftovers(out / "cells")
    features = out / "cache" / f"vision-{number}.safetensors"
    for place, (seed, variant) in list(enumerate(cells))[number::parts]:
        path = _cell_file(out, variant, seed)
        title = f"{place + 1}/{len(cells)} {variant.name}, seed {seed}"
        config = dataclasses.replace(
            configs[variant.name], output=out / "models" / path.stem, seed=seed, feature_cache=features
        )
        identity = _identity(config, benchmark, limit)
        if path.is_file():
            if json.loads(path.read_text("utf-8"))["identity"] != identity:
                raise UserError(f"{path}: of another recipe or benchmark; choose another --out")
            continue
        train(config, console=console, title=title)
        if _is_first():
            model = load_model(config.output)
            cache = use_feature_cache(model, features)
            result = evaluate(model, tasks, limit=limit).complete()
            if cache is not None:
                cache.save()
            found = similarity_gap(result)
            gaps = [gap.gap_hard for gap in found.values() if gap.gap_hard is not None]
            score = Score(
                variant.name,
                seed,
                result.groups(),
                {name: task.p_at_1 for name, task in result.tasks.items()},
                {name: task.queries for name, task in result.tasks.items()},
                sum(gaps) / len(gaps),
                dict(variant.changes),
                {name: gap.overlap for name, gap in found.items() if gap.overlap is not None},
                _curve(config.output, list(result.groups())),
                commit,
            )
            write_json(path, {**dataclasses.asdict(score), "identity": identity}, indent=1)
            if not keep_models:
                shutil.rmtree(config.output)
        if distributed.is_initialized():
            distributed.barrier()
    return list(load_scores(out, grid, seeds))


def load_scores(out: Path, grid: Grid, seeds: Sequence[int]) -> Iterator[Score]:
    """The cells of a grid that are done, in its order."""
    for variant in grid.variants:
        for seed in seeds:
            path = _cell_file(out, variant, seed)
            if path.is_file():
                content = json.loads(path.read_text("utf-8"))
                known = {field.name for field in dataclasses.fields(Score)}
                yield Score(**{name: value for name, value in content.items() if name in known})


def _curve(output: Path, groups: Sequence[str]) -> list[dict[str, float]]:
    """Scores while it trained."""
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [
        {"step": record["step"], **{name: record[f"eval_{name}"] for name in groups if f"eval_{name}" in record}}
        for record in records
        if "eval_overall" in record
    ]


def _cell_file(out: Path, variant: Variant, seed: int) -> Path:
    word = "".join(letter if letter.isalnum() or letter in "-_.=" else "_" for letter in variant.name)
    return out / "cells" / f"{word}-seed{seed}.json"


def _identity(config: TrainConfig, benchmark: str, limit: int | None) -> str:
    """Hash of what a cell's numbers depend on."""
    settings = {**dataclasses.asdict(config), "output": None, "feature_cache": None}
    content = json.dumps([settings, benchmark, limit], default=str, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _is_first() -> bool:
    return not distributed.is_initialized() or distributed.get_rank() == 0
