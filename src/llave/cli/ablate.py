"""``llave ablate RECIPE --grid GRID``."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llave.cli.parsing import parse
from llave.errors import UserError

__all__ = ["AblateConfig", "run"]


@dataclass(frozen=True, kw_only=True)
class AblateConfig:
    """Variants of a recipe, trained and evaluated with the same seeds.

    Args:
        base: the recipe that is varied: a file, or one of llave's by its name.
        grid: a YAML file, one of llave's by its name (ablations/plateau), or YAML: {loss.alpha: [0, 4, 9]} for every
            combination, or {variants: {name: {key: value}}}.
        out: cells, table and plot go here; the same command goes on where it stopped.
        benchmark: folder in MMEB's format, or a benchmark's name; null is the recipe's data.
        seeds: training runs per variant.
        first_seed: the seeds are this one and those that follow.
        set: keys of the recipe that are changed for all variants, e.g. {epochs: 1}.
        part: "k/n": only every n-th cell from the k-th on, for n machines that share out.
        limit: only the first rows of each evaluation data set; null is all.
        keep_models: keep the models; otherwise each is deleted once it is evaluated.
        json: print JSON instead of a table.
    """

    base: Path
    grid: str
    out: Path
    benchmark: str | None = None
    seeds: int = 3
    first_seed: int = 0
    set: dict[str, Any] = field(default_factory=dict)
    part: str = "0/1"
    limit: int | None = None
    keep_models: bool = False
    json: bool = False


def run(argv: list[str]) -> int:
    """Run what is not done yet; prints the table and writes ablation.json, ablation.md and a plot."""
    config = parse(
        AblateConfig,
        argv,
        command="ablate",
        description="Train variants of a recipe with the same seeds and compare them. Example: llave ablate "
        "recipes/nano.yaml --grid '{loss.alpha: [0, 4, 9]}' --set '{data: data/sample}' --out runs/alpha",
        positional=("base",),
    )
    part, _, parts = config.part.partition("/")
    if not (part.isdigit() and parts.isdigit() and int(part) < int(parts)):
        raise UserError(f"part must be k/n with 0 <= k < n, got {config.part!r}")
    if config.seeds < 1:
        raise UserError(f"seeds must be at least 1, got {config.seeds}")
    from rich.console import Console

    from llave.ablation.grid import Variant, read_grid
    from llave.ablation.report import markdown, plot, summarise, table, to_json
    from llave.ablation.run import ablate
    from llave.files import write_json, write_text
    from llave.training.config import TrainConfig

    def configure(variant: Variant) -> TrainConfig:
        changes = {**config.set, **variant.changes}
        words = [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in changes.items()]
        return parse(TrainConfig, [str(config.base), *words], command="ablate", description="", positional=("recipe",))

    grid = read_grid(config.grid)
    scores = ablate(
        grid,
        configure,
        config.out,
        benchmark=config.benchmark or str(configure(grid.variants[0]).data),
        seeds=range(config.first_seed, config.first_seed + config.seeds),
        part=(int(part), int(parts)),
        limit=config.limit,
        keep_models=config.keep_models,
    )
    rows = summarise(grid, scores)
    content = {"command": f"llave ablate {' '.join(argv)}", **to_json(grid, rows, scores)}
    write_json(config.out / "ablation.json", content, indent=1)
    write_text(config.out / "ablation.md", markdown(grid, rows, scores[0].queries))
    plot(grid, rows, config.out / "ablation")
    if config.json:
        sys.stdout.write(json.dumps(content, indent=1) + "\n")
    else:
        Console().print(table(grid, rows))
    return 0
