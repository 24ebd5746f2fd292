"""Late interaction beside one vector for each item: the nano models of one recipe, by seed and factor of token pooling;
and tiled MaxSim beside the plain form and sentence-transformers'.

Both models see the same pairs, in the same batches, for the same epochs. Runs that are finished are not trained again.
Run: python -m benchmarks.late --data runs/emoji0 --runs runs/late --out benchmarks/results
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.late_kernels import SHAPES, measure_kernels
from benchmarks.provenance import provenance
from llave.cli.parsing import parse
from llave.encode.late import maxsim_scores
from llave.encode.table import ItemTable
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.late import encode_late
from llave.evaluation.runner import evaluate
from llave.files import write_json
from llave.models.nano_features import use_feature_cache
from llave.models.open import load_late, load_model
from llave.terminal import quiet_libraries
from llave.training.config import TrainConfig
from llave.training.run import train

__all__ = ["main"]

TASKS = "t2i,t2i_ood,i2t,i2t_ood,scene_qa,scene_qa_ood,grounding,grounding_ood"
TIMED = "t2i_ood"
MODELS: dict[str, list[str]] = {
    "embed": [],
    "late": ["--task", "late"],
}
"""Options of each beside the recipe's."""
FACTORS = (1, 2, 4)
ROUNDS = 5
PAGES = {"tokens": 20, "documents": 100, "dimensions": 128}
PAGE_TOKENS = 700


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/late"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    quiet_libraries()
    args.runs.mkdir(parents=True, exist_ok=True)
    kernels = []
    for name, shape in SHAPES.items():
        kept = args.runs / f"kernel-{name.replace(' ', '-')}.json"
        if not kept.is_file():
            write_json(kept, {"name": name, "shape": shape, **measure_kernels(shape)})
        kernels.append(json.loads(kept.read_text()))
    cells = [cell for seed in args.seeds for cell in measure_models(args.data, args.runs, seed)]
    text = json.dumps(
        {
            **provenance(),
            "versions": {name: version(name) for name in ("torch", "sentence-transformers", "transformers", "numpy")},
            "threads": torch.get_num_threads(),
            "data": args.data.name,
            "seeds": args.seeds,
            "rounds": ROUNDS,
            "maxsim": kernels,
            "pages": measure_pages(),
            "models": cells,
        },
        indent=1,
    )
    if args.out is None:
        sys.stdout.write(text + "\n")
    else:
        (args.out / "late_nano.json").write_text(text + "\n")


def measure_pages() -> list[dict[str, float]]:
    """Milliseconds to score pages of random tokens for a query, by how many of them token pooling leaves."""
    draw = np.random.default_rng(0)
    found = []
    query = draw.normal(size=(PAGES["tokens"], PAGES["dimensions"])).astype(np.float32)
    for factor in FACTORS:
        size = (PAGE_TOKENS // factor, PAGES["dimensions"])
        pages = [draw.normal(size=size).astype(np.float16) for _ in range(PAGES["documents"])]
        seconds = timed(lambda pages=pages: maxsim_scores(query, pages))  # type: ignore[misc]
        found.append({**PAGES, "factor": factor, "bytes": pages[0].nbytes, "ms": 1000 * seconds})
    return found


def timed(work: Callable[[], object]) -> float:
    """Median seconds of some rounds."""
    work()
    found = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def measure_models(data: Path, runs: Path, seed: int) -> list[dict[str, Any]]:
    """A model of vectors and one of tokens: scores, bytes of a candidate, milliseconds of a query over all.

    A cell that is measured is kept in ``runs``, so that a killed measurement goes on.
    """
    features = runs / "features.safetensors"
    benchmark = get_benchmark(str(data), tasks=TASKS)
    cells = []
    for name, options in MODELS.items():
        words = ["--data", str(data), "--output", str(runs / f"{name}-{seed}"), "--seed", str(seed), *options]
        words = ["nano", *words, "--feature_cache", str(features)]
        directory = train(parse(TrainConfig, words, command="train", description="", positional=("recipe",)))
        model: Any = load_late(directory, device="cpu") if name == "late" else load_model(directory, device="cpu")
        cache = use_feature_cache(model, features)
        for factor in FACTORS if name == "late" and seed == 0 else FACTORS[:1]:
            kept = runs / f"cell-{name}-{seed}-{factor}.json"
            if not kept.is_file():
                about = measure_late(model, benchmark, factor) if name == "late" else measure_embed(model, benchmark)
                cell = {"seed": seed, "model": name, "commit": provenance()["commit"], **about}
                write_json(kept, cell)
            cells.append(json.loads(kept.read_text()))
            sys.stderr.write(f"{cells[-1]}\n")
        if cache is not None:
            cache.save()
    return cells


def measure_embed(model: Any, benchmark: Any) -> dict[str, Any]:
    """One vector for an item, in float16."""
    result = evaluate(model, benchmark, progress=False)
    width = model.get_embedding_dimension()
    vectors = np.random.default_rng(0).normal(size=(candidates_of(result), width)).astype(np.float32)
    seconds = timed(lambda: vectors @ vectors[0])
    return {"factor": 1, "tokens": 1.0, "bytes": 2.0 * width, "ms": 1000 * seconds, **scores_of(result)}


def measure_late(model: Any, benchmark: Any, factor: int) -> dict[str, Any]:
    """With documents of one in ``factor`` tokens."""
    result = evaluate(model, benchmark, token_pooling=factor, progress=False)
    about = dict(result.late or {})
    seconds = time_late(model, result.items, result.tasks[TIMED].rows, factor)
    return {
        "factor": factor, "tokens": about["tokens_per_document"], "bytes": about["bytes_per_document"],
        "ms": 1000 * seconds, **scores_of(result),
    }  # fmt: skip


def scores_of(result: Any) -> dict[str, Any]:
    return {
        "p_at_1": {name: task.p_at_1 for name, task in result.tasks.items()},
        "queries": {name: task.queries for name, task in result.tasks.items()},
        "candidates": candidates_of(result),
    }


def candidates_of(result: Any) -> int:
    """That a query of the timed task faces."""
    return len(result.tasks[TIMED].rows[0].candidates)


def time_late(model: Any, table: ItemTable, rows: Any, factor: int) -> float:
    """Seconds of a query over all its candidates, whose tokens are in memory; the median of the first queries."""
    queries = sorted({row.query for row in rows[:20]})
    numbers = sorted({number for row in rows[:20] for number in row.candidates.tolist()})
    encoding = encode_late(model, table, queries, numbers, factor=factor, progress=False)
    documents = [encoding.documents[number].astype(np.float32) for number in numbers]
    return statistics.median(
        timed(lambda query=query: maxsim_scores(encoding.queries[query], documents))  # type: ignore[misc]
        for query in queries
    )


if __name__ == "__main__":
    main()
