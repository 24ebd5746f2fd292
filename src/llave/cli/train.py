"""``llave train RECIPE.yaml [--key value …]``."""

import sys

from llave.cli.parsing import parse
from llave.training.config import TrainConfig

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Train from a recipe; prints the model's directory."""
    config = parse(
        TrainConfig,
        argv,
        command="train",
        description="Train an embedding model. Example: llave train recipes/nano.yaml --loss.alpha 0 --seed 1",
        positional=("recipe",),
    )
    if config.dry_run:
        from llave.training.dry_run import dry_run

        dry_run(config)
        return 0
    from llave.training.run import train

    sys.stdout.write(f"{train(config)}\n")
    return 0
