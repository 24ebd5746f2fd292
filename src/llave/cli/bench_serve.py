"""``llave bench serve``."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from llave.cli.parsing import parse
from llave.errors import UserError

__all__ = ["BenchServeConfig", "run"]


@dataclass(frozen=True, kw_only=True)
class BenchServeConfig:
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
    """Measure, print a table, write files if asked."""
    config = parse(
        BenchServeConfig,
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
    import torch
    from rich.console import Console

    from llave.bench.serve import measure_serve
    from llave.bench.serve_tables import serve_markdown, serve_table

    found = measure_serve(
        config.model,
        clients=config.clients,
        kinds=config.kinds,
        rounds=config.rounds,
        seconds=config.seconds,
        threads=config.threads,
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    title = (
        f"{config.model} on {device}, {config.threads} torch threads, closed-loop clients on the same machine, "
        f"{config.seconds:g} s each, median of {config.rounds}, torch {torch.__version__}"
    )
    Console().print(serve_table(found, title))
    if config.out is not None:
        config.out.mkdir(parents=True, exist_ok=True)
        content = {"title": title, "rounds": config.rounds, "measurements": [asdict(m) for m in found]}
        (config.out / f"serve_{device}.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        (config.out / f"serve_{device}.md").write_text(serve_markdown(found, title), "utf-8")
    return 0
