"""``llave bench loss | train | eval | serve``."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from llave.cli.parsing import parse
from llave.errors import UserError

__all__ = ["BenchEvalConfig", "BenchLossConfig", "BenchTrainConfig", "run"]

USAGE = """usage: llave bench COMMAND [options]

  loss      time, memory and exactness of the loss beside its peers
  train     a training step beside sentence-transformers' CachedMultipleNegativesRankingLoss
  eval      an evaluation beside VLM2Vec's way, SentenceTransformer.encode and mteb
  serve     our server beside FastAPI and SentenceTransformer.encode

llave bench COMMAND --help explains each
"""


@dataclass(frozen=True, kw_only=True)
class BenchLossConfig:
    """A measurement of the loss, forward and backward.

    Args:
        sizes: numbers of pairs.
        dim: dimensions of an embedding.
        dtype: type of the embeddings.
        rounds: timed rounds; in each every variant runs once.
        only: measure variants whose name contains this.
        compiled: also the eager form under torch.compile (needs a C++ compiler on a CPU).
        memory: skip variants that would need more GiB than this.
        threads: CPU threads; null leaves torch's choice.
        device: cpu or cuda; null is cuda where there is one.
        out: directory for loss.json, loss.md and the plot; null writes nothing.
    """

    sizes: list[int] = field(default_factory=lambda: [256, 1024, 4096])
    dim: int = 896
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    rounds: int = 5
    only: str = ""
    compiled: bool = False
    memory: float = 12.0
    threads: int | None = None
    device: str | None = None
    out: Path | None = None


@dataclass(frozen=True, kw_only=True)
class BenchTrainConfig:
    """A measurement of a training step on a random LLaVA-OneVision with a frozen vision tower.

    Args:
        shape: "tiny" (LLaVE-0.5B's share of work between vision and language, for two CPU cores) or "0.5b".
        rows: kinds of rows: "pairs" (picture and question to answer), "mixed" (every second query a text).
        pairs: pairs per step.
        mini_batch_size: rows embedded at a time.
        rounds: timed rounds; in each every variant runs once.
        threads: CPU threads; null leaves torch's choice.
        device: cpu or cuda; null is cuda where there is one.
        dtype: type of the weights.
        out: directory for train.json and train.md; null writes nothing.
    """

    shape: Literal["tiny", "0.5b"] = "tiny"
    rows: list[Literal["pairs", "mixed"]] = field(default_factory=lambda: ["pairs", "mixed"])
    pairs: int = 32
    mini_batch_size: int = 4
    rounds: int = 5
    threads: int | None = None
    device: str | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    out: Path | None = None


@dataclass(frozen=True, kw_only=True)
class BenchEvalConfig:
    """A measurement of a whole evaluation: reading rows, encoding, scoring.

    Args:
        folder: in MMEB's format, e.g. what `llave data sample` makes.
        limit: first rows of each data set.
        candidates: first candidates of each row; null is all.
        shape: of the random LLaVA-OneVision, as in bench train.
        batch_size: of mteb and SentenceTransformer.encode; ours takes its defaults.
        rounds: timed rounds; in each every variant runs once.
        only: measure variants whose name contains this, beside ours.
        threads: CPU threads; null leaves torch's choice.
        device: cpu or cuda; null is cuda where there is one.
        dtype: type of the weights.
        out: directory for eval_DEVICE.json and eval_DEVICE.md; null writes nothing.
    """

    folder: Path
    limit: int = 8
    candidates: int | None = 6
    shape: Literal["tiny", "0.5b"] = "tiny"
    batch_size: int = 16
    rounds: int = 5
    only: str = ""
    threads: int | None = None
    device: str | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    out: Path | None = None


def run(argv: list[str]) -> int:
    """Run a sub-command."""
    commands = {"loss": _loss, "train": _train, "eval": _eval, "serve": _serve}
    if not argv or argv[0] in {"-h", "--help"}:
        sys.stdout.write(USAGE)
        return 0
    if argv[0] not in commands:
        raise UserError(f"no command 'bench {argv[0]}'; there are: {', '.join(commands)}")
    return commands[argv[0]](argv[1:])


def _serve(argv: list[str]) -> int:
    from llave.cli.bench_serve import run as bench_serve

    return bench_serve(argv)


def _train(argv: list[str]) -> int:
    config = parse(
        BenchTrainConfig,
        argv,
        command="bench train",
        description="Variants interleaved in one process, after a warm-up; median of the rounds. "
        "Example: llave bench train --pairs 64 --mini_batch_size 8 --threads 2",
    )
    if config.rounds < 1 or config.pairs < 2 or config.mini_batch_size < 1 or not config.rows:
        raise UserError("rounds and mini_batch_size must be at least 1, pairs at least 2, and rows not empty")
    import tempfile
    from dataclasses import asdict

    import torch
    from rich.console import Console

    from llave.bench.shaped_model import SHAPES, shaped_model
    from llave.bench.tables import train_markdown, train_table
    from llave.bench.train import measure_train, work
    from llave.terminal import quiet_libraries

    quiet_libraries()
    name = _prepare_device(config.threads, config.device)
    device = torch.device(config.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    shape = SHAPES[config.shape]
    with tempfile.TemporaryDirectory() as directory:
        model = shaped_model(shape, Path(directory), device=device, dtype=getattr(torch, config.dtype))
    vision, language = work(model, shape.side)
    found = [
        measurement
        for rows in config.rows
        for measurement in measure_train(
            model,
            shape.side,
            rows=rows,
            pairs=config.pairs,
            mini_batch_size=config.mini_batch_size,
            rounds=config.rounds,
        )
    ]
    title = (
        f"training step, {config.pairs} pairs, {config.mini_batch_size} rows at a time, {config.dtype}, shape "
        f"{config.shape} (a pair: {vision:.2f} GFLOP vision, {language:.2f} language), {name}, "
        f"torch {torch.__version__}"
    )
    Console().print(train_table(found, title))
    if config.out is not None:
        content = {"title": title, "rounds": config.rounds, "measurements": [asdict(m) for m in found]}
        _write(config.out, "train", content, train_markdown(found, title))
    return 0


def _eval(argv: list[str]) -> int:
    config = parse(
        BenchEvalConfig,
        argv,
        command="bench eval",
        description="Variants interleaved in one process, after a warm-up; median of the rounds. Scores are compared "
        "before any time is told. Example: llave bench eval --folder data/sample --threads 2",
    )
    if config.rounds < 1 or config.limit < 1 or config.batch_size < 1 or (config.candidates or 2) < 2:
        raise UserError("rounds, limit and batch_size must be at least 1, and candidates at least 2")
    import tempfile
    from dataclasses import asdict

    import torch
    from rich.console import Console

    from llave.bench.eval import measure_eval
    from llave.bench.shaped_model import SHAPES, shaped_model
    from llave.bench.tables import eval_markdown, eval_table
    from llave.terminal import quiet_libraries

    quiet_libraries()
    name = _prepare_device(config.threads, config.device)
    device = torch.device(config.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with tempfile.TemporaryDirectory() as directory:
        model = shaped_model(SHAPES[config.shape], Path(directory), device=device, dtype=getattr(torch, config.dtype))
    found = measure_eval(
        model.eval(),
        config.folder,
        limit=config.limit,
        candidates=config.candidates,
        batch_size=config.batch_size,
        rounds=config.rounds,
        only=config.only,
    )
    title = (
        f"evaluation, {config.limit} rows of each data set with {config.candidates or 'all their'} candidates, "
        f"{config.dtype}, shape {config.shape}, {name}, torch {torch.__version__}, median of {config.rounds}"
    )
    Console().print(eval_table(found, title))
    if config.out is not None:
        content = {"title": title, "rounds": config.rounds, "measurements": [asdict(m) for m in found]}
        _write(config.out, f"eval_{device.type}", content, eval_markdown(found, title))
    return 0


def _loss(argv: list[str]) -> int:
    config = parse(
        BenchLossConfig,
        argv,
        command="bench loss",
        description="Variants interleaved in one process, after a warm-up; median of the rounds with its ends. "
        "Example: llave bench loss --sizes [1024,4096] --dim 896 --threads 2",
    )
    if config.rounds < 1 or config.dim < 1 or not config.sizes or min(config.sizes) < 2:
        raise UserError("rounds and dim must be at least 1, and every size at least 2")
    import torch
    from rich.console import Console

    from llave.bench.loss import measure_loss, to_json
    from llave.bench.tables import loss_markdown, loss_plot, loss_table

    name = _prepare_device(config.threads, config.device)
    device = torch.device(config.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    found = measure_loss(
        config.sizes,
        config.dim,
        dtype=getattr(torch, config.dtype),
        device=device,
        rounds=config.rounds,
        only=config.only,
        compiled=config.compiled,
        memory=int(config.memory * 2**30),
    )
    title = f"loss, forward and backward, D={config.dim}, {config.dtype}, {name}, torch {torch.__version__}"
    Console().print(loss_table(found, title))
    if config.out is not None:
        content = {"title": title, "rounds": config.rounds, "measurements": to_json(found)}
        _write(config.out, "loss", content, loss_markdown(found, title))
        loss_plot(found, title, config.out / "loss")
    return 0


def _prepare_device(threads: int | None, device: str | None) -> str:
    """Set the threads; the device in words."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def _write(out: Path, name: str, content: dict[str, Any], page: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    (out / f"{name}.md").write_text(page, "utf-8")
