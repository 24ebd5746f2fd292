"""The whole loop on the sample data: models that differ in their loss alone, trained, evaluated, compared, and one of
them put to use."""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from llave.encode.cache import model_fingerprint
from llave.evaluation.aggregate import ModelRun
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.result import EvalResult
from llave.evaluation.runner import evaluate
from llave.files import write_json, write_text
from llave.models.nano_features import use_feature_cache
from llave.models.open import load_model
from llave.models.precision import multiplies_bfloat16
from llave.report.gap import write_gap_report, write_plots
from llave.report.tables import comparison_table
from llave.sample.build import PICTURES, build_sample
from llave.search.build import build_index
from llave.search.index import Index
from llave.terminal import quiet_libraries
from llave.training.card import with_scores
from llave.training.config import TrainConfig
from llave.training.run import train

__all__ = ["quickstart"]


def quickstart(
    recipes: Mapping[str, TrainConfig],
    out: Path,
    *,
    seeds: Sequence[int],
    data_seed: int = 0,
    scale: float = 1.0,
    limit: int | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Train, evaluate and compare; what is done already is skipped. Returns the content of ``results.json``.

    All models of a seed start from the same weights and see the same batches; the last seed's models are not
    special, the first's become ``models/NAME``.

    Args:
        recipes: of each model, by its name. The first is what the others are compared with; ``hardness`` is indexed.
        out: run directory.
        seeds: a model of each recipe each.
        data_seed: of the sample data set.
        scale: share of its concepts and scenes.
        limit: only the first rows of each evaluation data set.
    """
    console = console or Console(stderr=True)
    quiet_libraries()
    data = out / "data"
    console.print(f"1/5 sample data → {data}")
    build_sample(data, seed=data_seed, scale=scale)
    benchmark = get_benchmark(str(data))
    features = out / "cache" / "vision.safetensors"
    results: dict[str, list[EvalResult]] = {name: [] for name in recipes}
    for seed in seeds:
        for name, recipe in recipes.items():
            output = out / "models" / (name if seed == seeds[0] else f"{name}-seed{seed}")
            config = dataclasses.replace(
                recipe,
                data=data,
                output=output,
                seed=seed,
                feature_cache=features,
                verify_pictures=False,  # build_sample wrote them just now
            )
            console.print(f"2/5 train {name}, seed {seed}")
            train(config, console=console, title=f"{name} seed {seed}")
            shutil.rmtree(output / "checkpoints", ignore_errors=True)
            console.print(f"3/5 evaluate {name}, seed {seed}")
            model = load_model(output, dtype="bfloat16" if multiplies_bfloat16() else None)
            cache = use_feature_cache(model, features)
            result = evaluate(model, benchmark, limit=limit, cache_dir=out / "cache" / "embeddings").complete()
            results[name].append(result)
            card = output / "README.md"
            write_text(card, with_scores(card.read_text("utf-8"), result.to_json(), limit=limit))
            if cache is not None:
                cache.save()
    console.print("4/5 report")
    runs = {
        name: ModelRun(
            results=results[name],
            seeds=seeds,
            alpha=recipe.loss.alpha,
            temperature=recipe.loss.temperature,
            settings={
                "batch size": str(recipe.batch_size),
                "epochs": str(recipe.epochs),
                "learning rate": str(recipe.learning_rate),
            },
        )
        for name, recipe in recipes.items()
    }
    summary = write_gap_report(out / "report.html", runs, title="LLaVE quickstart: InfoNCE and hardness weighting")
    write_plots(out / "plots", runs)
    write_json(out / "results.json", summary)
    console.print(f"5/5 index → {out / 'index'}")
    _index(out, features)
    Console().print(comparison_table(summary))
    return summary


def _index(out: Path, features: Path) -> None:
    """The drawings, searchable by the hardness-weighted model. An index of older weights is made anew."""
    path, folder = out / "models" / "hardness", out / "index"
    model = load_model(path)
    use_feature_cache(model, features)
    if Index.exists(folder) and Index.open(folder).info.fingerprint != model_fingerprint(model):
        shutil.rmtree(folder)
    build_index(folder, model, out / "data" / PICTURES)
