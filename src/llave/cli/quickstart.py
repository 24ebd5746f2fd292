"""``llave quickstart``."""

import dataclasses
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from llave.cli.defaults import QUICKSTART
from llave.cli.parsing import as_argv, parse
from llave.errors import UserError
from llave.training.config import TrainConfig

__all__ = ["QuickstartConfig", "run"]


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
            negatives alone. This and the next four are the recipe's (nano.yaml) where they are null.
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
    alpha: float | None = None
    temperature: float | None = None
    batch_size: int | None = None
    epochs: float | None = None
    max_steps: int | None = None
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

    asked = {
        "loss.alpha": config.alpha,
        "loss.temperature": config.temperature,
        "batch_size": config.batch_size,
        "epochs": config.epochs,
        "max_steps": config.max_steps,
    }
    words = as_argv({key: value for key, value in asked.items() if value is not None})
    recipe = parse(TrainConfig, ["nano", *words], command="quickstart", description="", positional=("recipe",))
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
  {llave} train nano --data {out}/data --loss.alpha 4 --output runs/alpha4
"""


def _program() -> str:
    """How this program is called here: it is not on the path unless its environment is active."""
    called = Path(sys.argv[0])
    if shutil.which("llave") is not None or called.name != "llave":
        return "llave"
    return os.path.relpath(called)
