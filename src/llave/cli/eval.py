"""``llave eval MODEL --benchmark DIR``."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llave.cli.parsing import parse

__all__ = ["EvalConfig", "run"]


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """An evaluation.

    Args:
        model: a model directory, a hub id, or "nano".
        benchmark: a folder in MMEB's format, or "mmeb" (its data in $LLAVE_MMEB).
        out: results.json, results.md and predictions go here; null writes nothing.
        ties: "strict" counts a tie with the positive as wrong, "v1" as right (the original MMEB code).
        batch_size: items per forward pass.
        limit: only the first rows of each data set; null is all.
        cache: directory that keeps embeddings between evaluations; null keeps none.
        device: e.g. cpu or cuda; null is the best there is.
        json: print the results as JSON instead of tables.
    """

    model: str
    benchmark: str
    out: Path | None = None
    ties: Literal["strict", "v1"] = "strict"
    batch_size: int = 64
    limit: int | None = None
    cache: Path | None = None
    device: str | None = None
    json: bool = False


def run(argv: list[str]) -> int:
    """Evaluate, print tables or JSON, write files if asked; 1 if an item could not be embedded."""
    config = parse(
        EvalConfig,
        argv,
        command="eval",
        description="Precision@1 as MMEB defines it. Example: llave eval runs/nano --benchmark data/sample",
        positional=("model",),
    )
    from rich.console import Console

    from llave.evaluation.benchmarks import get_benchmark
    from llave.evaluation.runner import evaluate, write_results
    from llave.evaluation.tables import dataset_table, group_table
    from llave.models.load import load_model, use_feature_cache
    from llave.terminal import quiet_libraries

    quiet_libraries()
    benchmark = get_benchmark(config.benchmark)
    model = load_model(config.model, device=config.device)
    use_feature_cache(model)
    result = evaluate(
        model,
        benchmark,
        ties=config.ties,
        batch_size=config.batch_size,
        limit=config.limit,
        cache_dir=config.cache,
    )
    if config.out is not None:
        write_results(result, config.out)
    if config.json:
        sys.stdout.write(json.dumps(result.to_json(), indent=2, ensure_ascii=False) + "\n")
    else:
        console = Console()
        console.print(dataset_table(result))
        console.print(group_table(result))
    for error in result.errors:
        sys.stderr.write(f"llave: left out {error.file}: {error.message}\n")
    return 1 if result.errors else 0
