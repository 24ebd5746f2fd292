"""``llave eval MODEL --benchmark NAME``; ``compare``, ``repeat`` and ``presets`` beside it."""

import importlib
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llave.cli.leftovers import cut_lines, cut_sound_lines, failure_lines
from llave.cli.parsing import as_argv, parse
from llave.cli.quantize import of_benchmark, open_quantized
from llave.collection.collection import Columns
from llave.errors import UserError

if TYPE_CHECKING:
    from llave.evaluation.benchmarks import Benchmark
    from llave.evaluation.record import RunRecord
    from llave.evaluation.result import EvalResult
    from llave.models.late import LateModel
    from llave.models.model import EmbeddingModel
    from llave.rerank.evaluation import RerankResult

__all__ = ["EvalConfig", "Evaluation", "evaluate_config", "run"]

COMMANDS = {"compare": "compare", "repeat": "eval_repeat", "presets": "eval_presets"}
"""Words that stand where a model would, and their modules."""


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """An evaluation.

    Args:
        model: a model directory, a hub id, or "nano"; null is the preset's.
        preset: settings of a published score, see llave eval presets; options that are given win over it.
        benchmark: "mmeb", "mmeb-v2", "mmeb-v3", "video-retrieval", a folder in MMEB's or BEIR's format, a list of
            tasks (.yaml), or a table with a text and a picture in each row (.csv, .jsonl, .parquet, …): two tasks, t2i
            and i2t; null is the preset's.
        root: the data of a named benchmark; null is $LLAVE_MMEB, $LLAVE_MMEB_V2 or $LLAVE_MMEB_V3, or what
            `hf download` left in the hub's cache.
        tasks: only these data sets, meta-tasks, modalities or splits, with commas between; null is all.
        columns: of such a table: which column holds what.
        candidates: of such a table: that each query faces, drawn by the seed; null is all.
        seed: of the candidates.
        rerank: a reranker (a directory or hub id) that orders the best candidates of every query anew; scores before
            and after, cost, and where it hurts are in results.json and rerank.md.
        top: candidates of each query that it sees.
        rerank_weight: of its scores beside the first stage's; 1 is the reranker alone.
        out: results, leaderboard JSON, an HTML report and predictions go here; null writes nothing.
        compat: "strict", or a released scorer whose quirks are to be matched: "llave" or "vlm2vec".
        ties: "strict" counts a tie with the positive as wrong, "v1" as right; null is as compat says.
        template: "model" puts texts into the model's chat template; "none" hands its processor the texts as they are,
            with the placeholder of a picture or video in them.
        instructions: "text" has them before the words, "system" in a turn of the system, where a benchmark tells them
            apart (mmeb-v2, mmeb-v3, video-retrieval).
        query_prompt: before queries that have no instruction of their own; null is the model's.
        target_prompt: before candidates, likewise.
        max_length: tokens that the model reads; null is the model's.
        min_pixels: of a picture, for processors that resize by the number of pixels; null is the model's.
        max_pixels: of a picture, likewise.
        video_min_pixels: of a video, as the model's video processor counts: of a frame, or of all together.
        video_max_pixels: of a video, likewise.
        processes: that share the encoding: one per GPU, or several on a CPU; 0 is one per GPU.
        batch_size: items per forward pass at most.
        tokens_per_batch: tokens per forward pass at most, padding included; null fits the device.
        frames: frames of a video, at most.
        fps: frames of a second of a film; null spaces them evenly.
        folder_rate: frames a second that folders of frames hold, for models that are told when each was taken.
        limit: only the first rows of each data set; null is all.
        token_pooling: of a late-interaction model: candidates keep one in so many of their tokens.
        cache: directory that keeps embeddings: a killed run goes on from it; null keeps none.
        device: e.g. cpu or cuda; null is the best there is.
        dtype: of the weights, e.g. bfloat16; null is bfloat16 where the device multiplies in it and as stored
            elsewhere.
        quantize: int8 puts linear layers into int8, on a processor; not those of a reranker.
        json: print the results as JSON instead of tables.
    """

    model: str | None = None
    preset: str | None = None
    benchmark: str | None = None
    root: Path | None = None
    tasks: str | None = None
    columns: Columns = field(default_factory=Columns)
    candidates: int | None = None
    seed: int = 0
    rerank: str | None = None
    top: int = 50
    rerank_weight: float = 1.0
    out: Path | None = None
    compat: Literal["strict", "llave", "vlm2vec"] = "strict"
    ties: Literal["strict", "v1"] | None = None
    template: Literal["model", "none"] = "model"
    instructions: Literal["text", "system"] = "text"
    query_prompt: str | None = None
    target_prompt: str | None = None
    max_length: int | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    video_min_pixels: int | None = None
    video_max_pixels: int | None = None
    processes: int = 1
    batch_size: int = 64
    tokens_per_batch: int | None = None
    frames: int = 8
    fps: float | None = None
    folder_rate: float | None = None
    limit: int | None = None
    token_pooling: float = 1.0
    cache: Path | None = None
    device: str | None = None
    dtype: str | None = None
    quantize: Literal["none", "int8"] = "none"
    json: bool = False


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came out, of which model (``name``: as the user gave it), with which options, and the preset's settings."""

    name: str
    model: "EmbeddingModel | LateModel"
    result: "EvalResult"
    options: dict[str, Any]
    preset: dict[str, Any]
    reranked: "RerankResult | None" = None

    def record(self) -> "RunRecord":
        """How it was run. All weights are hashed: seconds for a large model."""
        from llave.evaluation.record import run_record

        return run_record(self.model, self.options, self.preset)

    def about(self) -> dict[str, Any]:
        """The model, for leaderboard and report."""
        from llave.models.about import about_model

        about = about_model(self.model, self.name)
        return {**about, "max_length_tokens": self.options["max_length"] or about["max_length_tokens"]}


def run(argv: list[str]) -> int:
    """Evaluate, print tables or JSON, write files if asked; 1 if an item or a data set failed."""
    if argv[:1] and argv[0] in COMMANDS:
        code: int = importlib.import_module(f"llave.cli.{COMMANDS[argv[0]]}").run(argv[1:])
        return code
    config = _parsed(argv)
    if config.preset is not None:
        from llave.evaluation.presets import get_preset

        preset = get_preset(config.preset)
        named = {"model": preset.model, "benchmark": next(iter(preset.benchmarks), None)}
        preset = preset.on(config.benchmark or named["benchmark"])
        config = _parsed([*as_argv({**named, **preset.options}), *argv])
    evaluation = evaluate_config(config)
    from rich.console import Console

    from llave.report.outputs import write_results
    from llave.report.presets import preset_summary, settings_table
    from llave.report.tables import dataset_table, group_table
    from llave.rerank.report import rerank_table, write_reranked
    from llave.terminal import printable

    result = evaluation.result
    record = evaluation.record() if config.out is not None or config.json else None
    reranked = {} if evaluation.reranked is None else {"rerank": evaluation.reranked.to_json()}
    report = None
    if config.out is not None:
        report = write_results(result, config.out, evaluation.about(), record, more=reranked)
        if evaluation.reranked is not None:
            write_reranked(evaluation.reranked, config.out)
    if config.json and record is not None:
        content = {**result.to_json(), **reranked, "run": record.to_json()}
        sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    else:
        console = Console()
        console.print(dataset_table(result))
        console.print(group_table(result))
        if evaluation.reranked is not None:
            console.print(rerank_table(evaluation.reranked))
        if evaluation.preset:
            console.print(settings_table(evaluation.preset, same=False))
            for line in preset_summary(evaluation.preset):
                console.print(line, soft_wrap=True, markup=False, highlight=False)
        if report is not None:
            console.print(f"report: {report}", soft_wrap=True, markup=False, highlight=False)
    for line in [
        *result.notes,
        *cut_lines(result.cut, config.max_length or evaluation.model.max_seq_length),
        *cut_sound_lines(result.cut_sounds, evaluation.model),
    ]:
        sys.stderr.write(f"llave: {line}\n")
    for error in result.errors:
        what = f"{error.file}: " if error.file else ""
        sys.stderr.write(f"llave: left out {what}{printable(error.message)}\n")
    for line in failure_lines(result.failed):
        sys.stderr.write(f"llave: {printable(line)}\n")
    for reason in [] if evaluation.reranked is None else evaluation.reranked.reasons:
        sys.stderr.write(f"llave: not reranked: {printable(reason)}\n")
    failed = any(failure.kind != "unsupported" for failure in result.failed.values())
    return 1 if result.errors or failed else 0


def _parsed(argv: list[str]) -> EvalConfig:
    return parse(
        EvalConfig,
        argv,
        command="eval",
        description="Scores as MMEB defines them. "
        "Example: llave eval runs/nano --benchmark data/sample --out runs/eval. "
        "`llave eval compare A B` compares two such --out folders, query by query; `llave eval repeat A/results.json` "
        "evaluates again and says whether the same comes out, bit for bit; `llave eval presets` lists the settings of "
        "published scores.",
        positional=("model",),
    )


def evaluate_config(config: EvalConfig) -> Evaluation:
    """Open the model and the benchmark, and evaluate.

    Raises:
        UserError: no model or benchmark, or what they raise.
    """
    if config.model is None or config.benchmark is None:
        raise UserError("llave eval: needs a MODEL and a --benchmark, or a --preset that names them; see --help")
    from llave.cli.eval_rerank import open_reranker
    from llave.evaluation.benchmarks import VARIABLES, get_benchmark
    from llave.evaluation.compat import get_compat
    from llave.evaluation.protocol import Protocol
    from llave.evaluation.runner import evaluate
    from llave.models.nano_features import use_feature_cache
    from llave.terminal import printable, quiet_libraries

    if config.template == "none" and config.instructions == "system":
        raise UserError("--instructions system: a turn of the system is the template's, and --template none has none")
    quiet_libraries()
    root = config.root or os.environ.get(VARIABLES.get(config.benchmark, ""))
    benchmark = get_benchmark(
        config.benchmark,
        root=root,
        tasks=config.tasks,
        columns=config.columns,
        candidates=config.candidates,
        seed=config.seed,
    )
    if benchmark.note:
        sys.stderr.write(f"llave: {printable(benchmark.note)}\n")
    reranker = None if config.rerank is None else open_reranker(config)
    model = _opened(config, benchmark)
    use_feature_cache(model)
    result = evaluate(
        model,
        benchmark,
        compat=get_compat(config.compat),
        ties=config.ties,
        processes=config.processes,
        batch_size=config.batch_size,
        tokens_per_batch=config.tokens_per_batch,
        protocol=Protocol(
            form="raw" if config.template == "none" else config.instructions,
            query_prompt=config.query_prompt,
            target_prompt=config.target_prompt,
            max_length=config.max_length,
            min_pixels=config.min_pixels,
            max_pixels=config.max_pixels,
            video_min_pixels=config.video_min_pixels,
            video_max_pixels=config.video_max_pixels,
            num_frames=config.frames,
            fps=config.fps,
            folder_rate=config.folder_rate,
        ),
        limit=config.limit,
        cache_dir=config.cache,
        token_pooling=config.token_pooling,
    )
    reranked = None
    if reranker is not None:
        from llave.rerank.evaluation import rerank_result

        reranked = rerank_result(result, reranker, top=config.top, weight=config.rerank_weight)
    return Evaluation(config.model, model, result, _options(config, root), _about_preset(config), reranked)


def _opened(config: EvalConfig, benchmark: "Benchmark") -> "EmbeddingModel | LateModel":
    from llave.models.open import is_late, load_late
    from llave.models.precision import eval_dtype

    name = str(config.model)
    dtype = eval_dtype(config.dtype, config.device, config.quantize)
    if not is_late(name):
        sample = of_benchmark(benchmark)
        return open_quantized(name, device=config.device, dtype=dtype, quantize=config.quantize, sample=sample)
    if config.quantize == "int8":
        raise UserError(f"{name}: a late-interaction model, which takes no --quantize int8; leave it out")
    return load_late(name, device=config.device, dtype=dtype)


def _options(config: EvalConfig, root: str | Path | None) -> dict[str, Any]:
    """All options as JSON; paths are such that they mean the same from another folder."""
    options = {**asdict(config), "root": root}
    for key in ("model", "benchmark", "rerank"):
        if options[key] is not None and Path(options[key]).exists():
            options[key] = Path(options[key])
    return {key: str(value.resolve()) if isinstance(value, Path) else value for key, value in options.items()}


def _about_preset(config: EvalConfig) -> dict[str, Any]:
    if config.preset is None:
        return {}
    from llave.evaluation.presets import get_preset
    from llave.report.presets import about_preset

    preset = get_preset(config.preset).on(config.benchmark)
    return about_preset(preset, str(config.benchmark), asdict(config))
