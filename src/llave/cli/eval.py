"""``llave eval MODEL --benchmark NAME`` and ``llave eval compare A B``."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from llave.cli.leftovers import cut_lines, cut_sound_lines
from llave.cli.parsing import parse
from llave.collection.collection import Columns

__all__ = ["EvalConfig", "run"]


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """An evaluation.

    Args:
        model: a model directory, a hub id, or "nano".
        benchmark: "mmeb", "mmeb-v2", "video-retrieval", a folder in MMEB's or BEIR's format, a list of tasks (.yaml),
            or a table with a text and a picture in each row (.csv, .jsonl, .parquet, …): two tasks, t2i and i2t.
        root: the data of a named benchmark; null is $LLAVE_MMEB or $LLAVE_MMEB_V2.
        tasks: only these data sets, meta-tasks, modalities or splits, with commas between; null is all.
        columns: of such a table: which column holds what.
        candidates: of such a table: that each query faces, drawn by the seed; null is all.
        seed: of the candidates.
        out: results, leaderboard JSON, an HTML report and predictions go here; null writes nothing.
        compat: "strict", or a released scorer whose quirks are to be matched: "llave" or "vlm2vec".
        ties: "strict" counts a tie with the positive as wrong, "v1" as right; null is as compat says.
        processes: that share the encoding: one per GPU, or several on a CPU; 0 is one per GPU.
        batch_size: items per forward pass at most.
        tokens_per_batch: tokens per forward pass at most, padding included; null fits the device.
        frames: frames of a video.
        limit: only the first rows of each data set; null is all.
        cache: directory that keeps embeddings: a killed run goes on from it; null keeps none.
        device: e.g. cpu or cuda; null is the best there is.
        dtype: of the weights, e.g. bfloat16; null is bfloat16 on a GPU and as stored elsewhere.
        json: print the results as JSON instead of tables.
    """

    model: str
    benchmark: str
    root: Path | None = None
    tasks: str | None = None
    columns: Columns = field(default_factory=Columns)
    candidates: int | None = None
    seed: int = 0
    out: Path | None = None
    compat: Literal["strict", "llave", "vlm2vec"] = "strict"
    ties: Literal["strict", "v1"] | None = None
    processes: int = 1
    batch_size: int = 64
    tokens_per_batch: int | None = None
    frames: int = 8
    limit: int | None = None
    cache: Path | None = None
    device: str | None = None
    dtype: str | None = None
    json: bool = False


def run(argv: list[str]) -> int:
    """Evaluate, print tables or JSON, write files if asked; 1 if an item could not be embedded."""
    if argv[:1] == ["compare"]:
        from llave.cli.compare import run as compare

        return compare(argv[1:])
    config = parse(
        EvalConfig,
        argv,
        command="eval",
        description="Scores as MMEB defines them. "
        "Example: llave eval runs/nano --benchmark data/sample --out runs/eval. "
        "`llave eval compare A B` compares two such --out folders, query by query.",
        positional=("model",),
    )
    from rich.console import Console

    from llave.evaluation.benchmarks import get_benchmark
    from llave.evaluation.compat import get_compat
    from llave.evaluation.runner import evaluate
    from llave.models.about import about_model, eval_dtype
    from llave.models.nano_features import use_feature_cache
    from llave.models.open import load_model
    from llave.report.outputs import write_results
    from llave.report.tables import dataset_table, group_table
    from llave.terminal import printable, quiet_libraries

    quiet_libraries()
    benchmark = get_benchmark(
        config.benchmark,
        root=config.root,
        tasks=config.tasks,
        columns=config.columns,
        candidates=config.candidates,
        seed=config.seed,
    )
    if benchmark.note:
        sys.stderr.write(f"llave: {printable(benchmark.note)}\n")
    model = load_model(config.model, device=config.device, dtype=eval_dtype(config.dtype, config.device))
    use_feature_cache(model)
    result = evaluate(
        model,
        benchmark,
        compat=get_compat(config.compat),
        ties=config.ties,
        processes=config.processes,
        batch_size=config.batch_size,
        tokens_per_batch=config.tokens_per_batch,
        num_frames=config.frames,
        limit=config.limit,
        cache_dir=config.cache,
    )
    report = None if config.out is None else write_results(result, config.out, about_model(model, config.model))
    if config.json:
        sys.stdout.write(json.dumps(result.to_json(), indent=2, ensure_ascii=False) + "\n")
    else:
        console = Console()
        console.print(dataset_table(result))
        console.print(group_table(result))
        if report is not None:
            console.print(f"report: {report}", soft_wrap=True, markup=False, highlight=False)
    for line in (
        *cut_lines(result.cut, model.max_seq_length),
        *cut_sound_lines(result.cut_sounds, model),
    ):
        sys.stderr.write(f"llave: {line}\n")
    for error in result.errors:
        what = f"{error.file}: " if error.file else ""
        sys.stderr.write(f"llave: left out {what}{printable(error.message)}\n")
    return 1 if result.errors else 0
