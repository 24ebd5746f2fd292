"""What a reranker of the nano model's parts does for concepts that were never seen, over several seeds.

One first stage, trained before, is evaluated once; then for each seed a reranker is trained on what that first stage
confuses among the training rows, and orders its best candidates anew. A seed that the result has already is not run
again, so the same command goes on where it was stopped. recipes/rerank_nano.yaml says how to make first stage and mined
negatives. ``--also NAME=DIR`` measures other rerankers beside it.
Run: python -m benchmarks.rerank --first runs/nano --mined runs/mined --data data/sample --work runs/rerank
"""

import argparse
import dataclasses
import importlib.metadata
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from benchmarks.provenance import provenance
from llave._version import __version__
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.result import EvalResult
from llave.evaluation.runner import evaluate
from llave.evaluation.statistics import mean_ci95
from llave.files import write_json
from llave.models.nano_features import use_feature_cache
from llave.models.open import load_model
from llave.recipes import FOLDER
from llave.rerank.build import build_reranker
from llave.rerank.config import NegativesConfig, RankLossConfig, RerankConfig
from llave.rerank.evaluation import RerankResult, rerank_result
from llave.rerank.model import PairModel
from llave.rerank.nano import solve_projector
from llave.rerank.reranker import Reranker
from llave.rerank.train import train_reranker
from llave.terminal import quiet_libraries
from llave.training.config import DataSetConfig
from llave.training.tables import open_tables

ROOT = Path(__file__).parent.parent
RECIPE = FOLDER / "rerank_nano.yaml"
PAIRS = 128
"""Of a batch at most; its tokens are bounded besides."""
PACKAGES = ("torch", "transformers", "sentence-transformers")


def main() -> None:
    """Measure what is missing, and write the result after every reranker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=Path, required=True)
    parser.add_argument("--mined", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/rerank"))
    parser.add_argument("--tasks", default="t2i_ood,i2t_ood")
    parser.add_argument("--top", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--also", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--every", type=int, default=1, help="only every so-many-th query")
    parser.add_argument("--max_steps", type=int, help="instead of the recipe's, on a machine that has no time")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/rerank_nano.json")
    chosen = parser.parse_args()
    quiet_libraries()
    found: dict[str, Any] = json.loads(chosen.out.read_text("utf-8")) if chosen.out.is_file() else {}
    first = some(first_stage(chosen.first, chosen.data, chosen.tasks, chosen.work), chosen.every)
    found |= {
        **provenance(),
        "versions": {"llave": __version__, **{name: importlib.metadata.version(name) for name in PACKAGES}},
        "first": json.loads((chosen.first / "run.json").read_text("utf-8"))["config"],
        "recipe": said(chosen.max_steps),
        "top": chosen.top,
        "every": chosen.every,
        "before": {name: {"p_at_1": task.p_at_1, "queries": task.queries} for name, task in first.tasks.items()},
    }
    seeds: dict[str, Any] = found.setdefault("seeds", {})
    if "solved" not in found:
        found["solved"] = measured(solved(chosen.mined, chosen.work), first, chosen.top, chosen.work)
        write_json(chosen.out, summed_up(found), indent=1)
    for seed in range(chosen.seeds):
        if str(seed) not in seeds:
            config = recipe(chosen.mined, chosen.work, seed, chosen.max_steps)
            cpu = time.process_time()
            reranker = Reranker.open(train_reranker(config, title=f"seed {seed}"), batch_size=PAIRS)
            training = time.process_time() - cpu
            seeds[str(seed)] = {
                "training_cpu_seconds": round(training, 1),
                "datasets": measured(reranker, first, chosen.top, chosen.work),
                "commit": provenance()["commit"],
            }
            write_json(chosen.out, summed_up(found), indent=1)
    for also in chosen.also:
        name, _, path = also.partition("=")
        if name not in found.setdefault("also", {}):
            reranker = Reranker.open(path, batch_size=PAIRS)
            record = json.loads((Path(path) / "run.json").read_text("utf-8"))
            found["also"][name] = {
                "datasets": measured(reranker, first, chosen.top, chosen.work),
                "recipe": record["config"],
            }
            write_json(chosen.out, summed_up(found), indent=1)
    write_json(chosen.out, summed_up(found), indent=1)


def first_stage(model: Path, data: Path, tasks: str, work: Path) -> EvalResult:
    """Its scores of every candidate."""
    opened = load_model(model)
    cache = use_feature_cache(opened, work / "first.safetensors")
    result = evaluate(opened, get_benchmark(str(data), tasks=tasks), cache_dir=work / "embeddings", progress=False)
    if cache is not None:
        cache.save()
    return result.complete()


def said(max_steps: int | None) -> dict[str, Any]:
    """The committed recipe, or a shorter run of it."""
    found: dict[str, Any] = yaml.safe_load(RECIPE.read_text("utf-8"))
    return found if max_steps is None else {**found, "max_steps": max_steps}


def recipe(mined: Path, work: Path, seed: int, max_steps: int | None = None) -> RerankConfig:
    """The same for one seed."""
    found = said(max_steps)
    found |= {"datasets": {name: DataSetConfig(**own) for name, own in found["datasets"].items()}}
    found |= {"loss": RankLossConfig(**found["loss"]), "negatives": NegativesConfig(**found["negatives"])}
    found |= {"data": mined, "output": work / f"seed{seed}", "seed": seed, "verify_pictures": False}
    return RerankConfig(**found, feature_cache=work / "depths.safetensors")


def solved(mined: Path, work: Path) -> Reranker:
    """The reranker before its first step: the projector solved, the correction zero."""
    config = recipe(mined, work, 0)
    model: PairModel = build_reranker("nano")
    network: Any = model
    cache = use_feature_cache(network, config.feature_cache)
    tables = {name: table for name, (_, table) in open_tables(mined, config.datasets).items()}
    solve_projector(model, tables, cache=cache, seed=0, console=Console(stderr=True))
    if cache is not None:
        cache.save()
    return Reranker(model, batch_size=PAIRS)


def measured(reranker: Reranker, first: EvalResult, top: int, work: Path) -> dict[str, Any]:
    """Scores after the second stage, and its cost; features of pictures are kept, and not part of the cost twice."""
    network: Any = reranker.model
    cache = use_feature_cache(network, work / f"{type(network[0].model).__name__}.safetensors")
    result: RerankResult = rerank_result(first, reranker, top=top, progress=False)
    if cache is not None:
        cache.save()
    keys = (
        "queries", "before", "after", "difference", "difference_ci95", "helped", "hurt", "in_reach", "refused",
        "ms_per_query", "cpu_ms_per_query", "by_weight",
    )  # fmt: skip
    return {name: {key: about[key] for key in keys} for name, about in result.to_json()["datasets"].items()}


def some(result: EvalResult, every: int) -> EvalResult:
    """Every so-many-th query alone."""
    tasks = {name: dataclasses.replace(task, rows=task.rows[::every]) for name, task in result.tasks.items()}
    return dataclasses.replace(result, tasks=tasks)


def summed_up(found: dict[str, Any]) -> dict[str, Any]:
    """With the mean over seeds, and its 95% interval, per data set."""
    seeds = list(found["seeds"].values())
    means: dict[str, Any] = {}
    for name in found["before"] if seeds else []:
        after = [seed["datasets"][name]["after"] for seed in seeds]
        gain = [seed["datasets"][name]["difference"] for seed in seeds]
        means[name] = {
            "after": sum(after) / len(after),
            "gain": sum(gain) / len(gain),
            "gain_ci95": interval(gain),
            "seeds": len(seeds),
            "cpu_ms_per_query": sum(seed["datasets"][name]["cpu_ms_per_query"] for seed in seeds) / len(seeds),
        }
    return {**found, "means": means}


def interval(values: Sequence[float]) -> list[float] | None:
    """Of the mean over seeds, by Student's t; None of one."""
    found = mean_ci95(values).interval
    return None if found is None else list(found)


if __name__ == "__main__":
    main()
