"""``llave merge A B … --out DIR``."""

import sys
from dataclasses import dataclass
from pathlib import Path

from llave.cli.parsing import parse

__all__ = ["MergeConfig", "run"]


@dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """A mean of models.

    Args:
        models: directories of models that were trained from one base.
        out: directory to make.
        weights: of each model, relative to their sum, as [2, 1, 1]; null weighs all alike.
    """

    models: list[Path]
    out: Path
    weights: list[float] | None = None


def run(argv: list[str]) -> int:
    """Merge; prints the new directory."""
    config = parse(
        MergeConfig,
        argv,
        command="merge",
        description="The weighted mean of models' weights as one model; configuration, tokenizer, tensors must agree. "
        "Example: llave merge runs/a runs/b runs/c --out models/mean --weights '[2, 1, 1]'",
        positional=("models+",),
    )
    from llave.models.merge import merge

    merge(config.models, config.out, weights=config.weights)
    sys.stdout.write(f"{config.out}\n")
    return 0
