"""``llave quickstart``."""

import dataclasses
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from llave.cli.defaults import QUICKSTART
from llave.cli.parsing import parse
from llave.errors import UserError
from llave.training.config import DataSetConfig, LossConfig, TrainConfig

__all__ = ["NANO_RECIPE", "QuickstartConfig", "run"]

NANO_RECIPE = TrainConfig(
    data=Path("data/sample"),
    output=Path("runs/nano"),
    datasets={
        "group": DataSetConfig(weight=0.3),
        "subgroup": DataSetConfig(weight=0.5),
        "t2i": DataSetConfig(weight=1.0),
        "i2t": DataSetConfig(weight=0.6),
        "i2i": DataSetConfig(weight=0.4),
        "composed": DataSetConfig(weight=0.8, hard_negatives=True),
        "scene_qa": DataSetConfig(weight=0.6),
        "grounding": DataSetConfig(weight=0.5, hard_negatives=True),
    },
    loss=LossConfig(temperature=0.05),
    epochs=2,
    learning_rate=1e-4,
    projector_learning_rate=1.5e-3,
    warmup=0.05,
    precision="auto",
    freeze=["vision_tower", "embeddings", "layer.0.", "layer.1.", "layer.2.", "layer.3."],
)
"""The same as recipes/nano.yaml (a test holds them together); a wheel has no recipes folder."""


@dataclass(frozen=True, kw_only=True)
class QuickstartConfig:
    """The whole loop.

    Args:
        out: run directory.
        seeds: how many models of each loss to train; two or more give intervals and a paired test.
        first_seed: the seeds are this one and those that follow.
        data_seed: seed of the sample data set.
        scale: share of the sample's concepts and scenes: 0.1 is a first look in two minutes, with scores of its own.
        alpha: hardness of the hardness-weighted model; InfoNCE's is 0, and that of the third 5, on a row's own hard
            negatives alone.
        temperature: tau of all models.
        batch_size: pairs per step.
        epochs: passes over the training data.
        max_steps: stop each training after so many steps; -1 is no limit.
        limit: evaluate the first rows of each data set only, for a first look; null is all.
    """

    out: Path = QUICKSTART
    seeds: int = 1
    first_seed: int = 0
    data_seed: int = 0
    scale: float = 1.0
    alpha: float = NANO_RECIPE.loss.alpha
    temperature: float = NANO_RECIPE.loss.temperature
    batch_size: int = NANO_RECIPE.batch_size
    epochs: float = NANO_RECIPE.epochs
    max_steps: int = NANO_RECIPE.max_steps
    limit: int | None = None


def run(argv: list[str]) -> int:
    """Run what is not done yet, and say what to try next."""
    config = parse(
        QuickstartConfig,
        argv,
        command="quickstart",
        description="Sample data → training with InfoNCE, with LLaVE's loss, and with its weights on a row's own hard "
        "negatives alone → evaluation → report → index. Minutes on two CPU cores; the second run skips what is done.",
    )
    if not 0.05 <= config.scale <= 1:
        raise UserError(f"scale: from 0.05 to 1, not {config.scale}")
    if config.seeds < 1:
        raise UserError(f"seeds must be at least 1, got {config.seeds}")
    from llave.quickstart import quickstart

    recipe = dataclasses.replace(
        NANO_RECIPE,
        loss=dataclasses.replace(NANO_RECIPE.loss, alpha=config.alpha, temperature=config.temperature),
        batch_size=config.batch_size,
        epochs=config.epochs,
        max_steps=config.max_steps,
    )
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    losses = {
        "infonce": dataclasses.replace(recipe.loss, alpha=0.0),
        "hardness": recipe.loss,
        "own_negatives": dataclasses.replace(recipe.loss, weighting="hard_negatives", alpha=5.0),
    }
    recipes = {name: dataclasses.replace(recipe, loss=loss) for name, loss in losses.items()}
    quickstart(
        recipes, config.out, seeds=list(seeds), data_seed=config.data_seed, scale=config.scale, limit=config.limit
    )
    sys.stdout.write(_what_next(config.out, _program()))
    return 0


def _what_next(out: Path, llave: str) -> str:
    options = f" {out}/models/hardness --index {out}/index --gallery {out}/report.html"
    index = f" --index {out}/index"
    if out == QUICKSTART:  # what they take that are told nothing
        options = index = ""
    return f"""
Report:  {out}/report.html      numbers: {out}/results.json
Search the pictures in your browser, and over HTTP:
  {llave} serve{options}
Try next:
  {llave} search "something to eat"{index}
  {llave} quickstart --seeds 6                                  intervals and a paired test
  {llave} eval {out}/models/hardness --benchmark {out}/data
  {llave} train recipes/nano.yaml --data {out}/data --loss.alpha 4 --output runs/alpha4
"""


def _program() -> str:
    """How this program is called here: it is not on the path unless its environment is active."""
    called = Path(sys.argv[0])
    if shutil.which("llave") is not None or called.name != "llave":
        return "llave"
    return os.path.relpath(called)
