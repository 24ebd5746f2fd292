"""``llave bench loss | train | eval | serve``: the commands' options, and what they print and write."""

import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llave.cli.parsing import parse
from llave.errors import UserError
from llave.files import write_json, write_text

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from benchmarks.sheet import Sheet

__all__ = ["EvalConfig", "LossConfig", "ServeConfig", "TrainConfig", "run"]

WIDE = 160
"""Characters of a line off a terminal, where nothing has to be wrapped."""
USAGE = """usage: llave bench COMMAND [options]

  loss      time, memory and exactness of the loss beside its peers
  train     a training step beside sentence-transformers' CachedMultipleNegativesRankingLoss
  eval      an evaluation beside VLM2Vec's way, SentenceTransformer.encode and mteb
  serve     our server beside FastAPI and SentenceTransformer.encode

llave bench COMMAND --help explains each
"""


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """A measurement of the loss, forward and backward.

    Args:
        sizes: numbers of pairs.
        dim: dimensions of an embedding.
        dtype: type of the embeddings.
        rounds: timed rounds; in each every variant runs once.
        only: measure variants whose name matches this regular expression.
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
class TrainConfig:
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
class EvalConfig:
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


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """A measurement of `llave serve` beside plain servers, on this machine.

    Args:
        model: a model directory, a hub id, or "nano".
        clients: numbers of clients that each send a request as soon as the one before is answered.
        kinds: of items.
        rounds: timed rounds; in each every server meets every number of clients.
        seconds: of each measurement.
        threads: of torch, in each server.
        out: directory for serve_DEVICE.json and serve_DEVICE.md; null writes nothing.
    """

    model: str = "nano"
    clients: list[int] = field(default_factory=lambda: [1, 8, 64])
    kinds: list[Literal["texts", "pictures"]] = field(default_factory=lambda: ["texts", "pictures"])
    rounds: int = 5
    seconds: float = 3.0
    threads: int = 1
    out: Path | None = None


def run(argv: list[str]) -> int:
    """Run a sub-command: measure, print a table, write files if asked."""
    commands = {"loss": _loss, "train": _train, "eval": _eval, "serve": _serve}
    if not argv or argv[0] in {"-h", "--help"}:
        sys.stdout.write(USAGE)
        return 0
    if argv[0] not in commands:
        raise UserError(f"no command 'bench {argv[0]}'; there are: {', '.join(commands)}")
    commands[argv[0]](argv[1:])
    return 0


def _loss(argv: list[str]) -> None:
    config = parse(
        LossConfig,
        argv,
        command="bench loss",
        description="Variants interleaved in one process, after a warm-up; median of the rounds with its ends. "
        "Example: llave bench loss --sizes [1024,4096] --dim 896 --threads 2",
    )
    if config.rounds < 1 or config.dim < 1 or not config.sizes or min(config.sizes) < 2:
        raise UserError("rounds and dim must be at least 1, and every size at least 2")
    import torch

    from benchmarks.loss import measure_loss, to_json
    from benchmarks.tables import loss_plot, loss_sheet

    device, name = _prepare(config.threads, config.device)
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
    title = f"loss, forward and backward, D={config.dim}, {config.dtype}, {name}"
    content = {"title": title, "rounds": config.rounds, "measurements": to_json(found)}
    _report(config.out, "loss", content, loss_sheet(found, title))
    if config.out is not None:
        loss_plot(found, title, config.out / "loss")


def _train(argv: list[str]) -> None:
    config = parse(
        TrainConfig,
        argv,
        command="bench train",
        description="Variants interleaved in one process, after a warm-up; median of the rounds. "
        "Example: llave bench train --pairs 64 --mini_batch_size 8 --threads 2",
    )
    if config.rounds < 1 or config.pairs < 2 or config.mini_batch_size < 1 or not config.rows:
        raise UserError("rounds and mini_batch_size must be at least 1, pairs at least 2, and rows not empty")
    from benchmarks.shaped_model import SHAPES
    from benchmarks.tables import train_sheet
    from benchmarks.train import measure_train, work

    device, name = _prepare(config.threads, config.device)
    side = SHAPES[config.shape].side
    model = _model(config.shape, device, config.dtype)
    vision, language = work(model, side)
    found = [
        measurement
        for rows in config.rows
        for measurement in measure_train(
            model, side, rows=rows, pairs=config.pairs, mini_batch_size=config.mini_batch_size, rounds=config.rounds
        )
    ]
    title = (
        f"training step, {config.pairs} pairs, {config.mini_batch_size} rows at a time, {config.dtype}, shape "
        f"{config.shape} (a pair: {vision:.2f} GFLOP vision, {language:.2f} language), {name}"
    )
    content = {"title": title, "rounds": config.rounds, "measurements": [asdict(m) for m in found]}
    _report(config.out, "train", content, train_sheet(found, title))


def _eval(argv: list[str]) -> None:
    config = parse(
        EvalConfig,
        argv,
        command="bench eval",
        description="Variants interleaved in one process, after a warm-up; median of the rounds. Scores are compared "
        "before any time is told. Example: llave bench eval --folder data/sample --threads 2",
    )
    if config.rounds < 1 or config.limit < 1 or config.batch_size < 1 or (config.candidates or 2) < 2:
        raise UserError("rounds, limit and batch_size must be at least 1, and candidates at least 2")
    from benchmarks.eval import measure_eval
    from benchmarks.tables import eval_sheet

    device, name = _prepare(config.threads, config.device)
    found = measure_eval(
        _model(config.shape, device, config.dtype).eval(),
        config.folder,
        limit=config.limit,
        candidates=config.candidates,
        batch_size=config.batch_size,
        rounds=config.rounds,
        only=config.only,
    )
    title = (
        f"evaluation, {config.limit} rows of each data set with {config.candidates or 'all their'} candidates, "
        f"{config.dtype}, shape {config.shape}, {name}, median of {config.rounds}"
    )
    content = {"title": title, "rounds": config.rounds, "measurements": [asdict(m) for m in found]}
    _report(config.out, f"eval_{device.type}", content, eval_sheet(found, title))


def _serve(argv: list[str]) -> None:
    config = parse(
        ServeConfig,
        argv,
        command="bench serve",
        description="Servers in processes of their own, interleaved, after a warm-up; median of the rounds. Vectors "
        "are compared before any time is told. Example: llave bench serve nano --clients [1,64] --out runs/bench",
        positional=("model",),
    )
    if config.rounds < 1 or config.seconds <= 0 or config.threads < 1 or min([0, *config.clients]) < 0:
        raise UserError("rounds, seconds, threads and clients must be more than 0")
    if not config.clients or 0 in config.clients or not config.kinds:
        raise UserError("clients and kinds must not be empty, and clients be more than 0")
    from benchmarks.serve import measure_serve
    from benchmarks.tables import serve_sheet

    found = measure_serve(
        config.model,
        clients=config.clients,
        kinds=config.kinds,
        rounds=config.rounds,
        seconds=config.seconds,
        threads=config.threads,
    )
    device, _ = _prepare(None, None)
    title = (
        f"{config.model} on {device.type}, {config.threads} torch threads, closed-loop clients on the same machine, "
        f"{config.seconds:g} s each, median of {config.rounds}"
    )
    content = {"title": title, "rounds": config.rounds, "measurements": [asdict(m) for m in found]}
    _report(config.out, f"serve_{device.type}", content, serve_sheet(found, title))


def _prepare(threads: int | None, device: str | None) -> "tuple[torch.device, str]":
    """Set the threads; the device, and in words with torch's version."""
    import torch

    from llave.terminal import quiet_libraries

    quiet_libraries()
    if threads is not None:
        torch.set_num_threads(threads)
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    cuda = chosen.type == "cuda"
    name = torch.cuda.get_device_name(chosen) if cuda else f"CPU, {torch.get_num_threads()} threads"
    return chosen, f"{name}, torch {torch.__version__}"


def _model(shape: str, device: "torch.device", dtype: str) -> "SentenceTransformer":
    """A random one of this shape."""
    import torch

    from benchmarks.shaped_model import SHAPES, shaped_model

    with tempfile.TemporaryDirectory() as directory:
        return shaped_model(SHAPES[shape], Path(directory), device=device, dtype=getattr(torch, dtype))


def _report(out: Path | None, name: str, content: dict[str, Any], sheet: "Sheet") -> None:
    from rich.console import Console

    from benchmarks.provenance import provenance

    Console(width=None if sys.stdout.isatty() else WIDE).print(sheet.table())
    if out is not None:
        write_json(out / f"{name}.json", {**provenance(), **content}, indent=1)
        write_text(out / f"{name}.md", sheet.markdown())
