"""``llave bench loss``."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from llave.cli.parsing import parse
from llave.errors import UserError

__all__ = ["BenchLossConfig", "run"]

USAGE = """usage: llave bench COMMAND [options]

  loss      time, memory and exactness of the loss beside its peers

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


def run(argv: list[str]) -> int:
    """Run a sub-command."""
    if not argv or argv[0] in {"-h", "--help"}:
        sys.stdout.write(USAGE)
        return 0
    if argv[0] != "loss":
        raise UserError(f"no command 'bench {argv[0]}'; there is: loss")
    config = parse(
        BenchLossConfig,
        argv[1:],
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

    if config.threads is not None:
        torch.set_num_threads(config.threads)
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
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    title = f"loss, forward and backward, D={config.dim}, {config.dtype}, {name}, torch {torch.__version__}"
    Console().print(loss_table(found, title))
    if config.out is not None:
        config.out.mkdir(parents=True, exist_ok=True)
        content = {"title": title, "rounds": config.rounds, "measurements": to_json(found)}
        (config.out / "loss.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        (config.out / "loss.md").write_text(loss_markdown(found, title), "utf-8")
        loss_plot(found, title, config.out / "loss")
    return 0
