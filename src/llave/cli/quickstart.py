"""``llave quickstart``."""

import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path

from llave.cli.parsing import parse
from llave.errors import UserError
from llave.training.config import LossConfig, TrainConfig

__all__ = ["NANO_RECIPE", "QuickstartConfig", "run"]

NANO_RECIPE = TrainConfig(
    data=Path("data/sample"),
    output=Path("runs/nano"),
    loss=LossConfig(temperature=0.05),
    epochs=3,
    projector_learning_rate=1e-3,
    warmup=0.05,
    freeze=["vision_tower", "word_embeddings"],
)
"""The same as recipes/nano.yaml (a test holds them together); a wheel has no recipes folder."""


@dataclass(frozen=True, kw_only=True)
class QuickstartConfig:
    """The whole loop.

    Args:
        out: run directory.
        seeds: how many pairs of models to train; two or more give intervals and a paired test.
        first_seed: the seeds are this one and those that follow.
        data_seed: seed of the sample data set.
        train: training options that differ from recipes/nano.yaml.
    """

    out: Path = Path("runs/quickstart")
    seeds: int = 1
    first_seed: int = 0
    data_seed: int = 0
    alpha: float = NANO_RECIPE.loss.alpha
    temperature: float = NANO_RECIPE.loss.temperature
    batch_size: int = NANO_RECIPE.batch_size
    epochs: float = NANO_RECIPE.epochs
    max_steps: int = field(default=-1)


def run(argv: list[str]) -> int:
    """Run what is not done yet, and say what to try next."""
    config = parse(
        QuickstartConfig,
        argv,
        command="quickstart",
        description="Sample data → InfoNCE and hardness-weighted training → evaluation → report. "
        "Minutes on two CPU cores; the second run skips what is done.",
    )
    if config.seeds < 1:
        raise UserError(f"seeds must be at least 1, got {config.seeds}")
    from llave.training.quickstart import quickstart

    recipe = dataclasses.replace(
        NANO_RECIPE,
        loss=dataclasses.replace(NANO_RECIPE.loss, alpha=config.alpha, temperature=config.temperature),
        batch_size=config.batch_size,
        epochs=config.epochs,
        max_steps=config.max_steps,
    )
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    quickstart(recipe, config.out, seeds=list(seeds), data_seed=config.data_seed)
    out = config.out
    sys.stdout.write(
        f"""
Report:  {out}/report.html      numbers: {out}/results.json
Try next:
  llave quickstart --seeds 5                                  intervals and a paired test
  llave eval {out}/models/hardness --benchmark {out}/data
  llave train recipes/nano.yaml --data {out}/data --loss.alpha 4 --output runs/alpha4
"""
    )
    return 0
