"""``llave list``."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from llave.cli.parsing import parse
from llave.errors import UserError

__all__ = ["ListConfig", "run"]


@dataclass(frozen=True, kw_only=True)
class ListConfig:
    """What comes with llave.

    Args:
        name: a benchmark, whose data sets are listed; null lists benchmarks and recipes.
        root: where its data lies; null is the variable of its name (LLAVE_MMEB …), then the hub's cache.
        tasks: only these, by name, meta-task, modality or split, with commas between.
        json: print JSON instead of tables.
    """

    name: str | None = None
    root: Path | None = None
    tasks: str | None = None
    json: bool = False


def run(argv: list[str]) -> int:
    """Print the benchmarks and recipes, or the data sets of one benchmark and what this machine lacks of each."""
    config = parse(
        ListConfig,
        argv,
        command="list",
        description="Benchmarks and recipes that come with llave; with NAME, a benchmark's data sets, and which "
        "of them are on this machine. Example: llave list mmeb-v2",
        positional=("name",),
    )
    from rich.console import Console
    from rich.table import Table

    from llave.evaluation.benchmarks import NAMES, choose_tasks, get_spec, missing_data
    from llave.recipes import FOLDER
    from llave.report.titles import group_title, metric_title

    if config.name is None:
        sizes = {name: len(get_spec(name).tasks) for name in NAMES}
        recipes = {
            path.relative_to(FOLDER).with_suffix("").as_posix(): _first_line(path) for path in FOLDER.rglob("*.yaml")
        }
        if config.json:
            sys.stdout.write(json.dumps({"benchmarks": sizes, "recipes": recipes}, indent=2) + "\n")
            return 0
        lines = ["benchmarks (llave list NAME, llave eval MODEL --benchmark NAME):"]
        lines += [f"  {name:<18}{size} data sets" for name, size in sizes.items()]
        lines += ["recipes (llave train NAME) and grids (llave ablate RECIPE --grid NAME):"]
        lines += [f"  {name:<30}{about}" for name, about in sorted(recipes.items())]
        sys.stdout.write("\n".join(lines) + "\n")
        return 0
    if config.name not in NAMES:
        raise UserError(f"llave list: no benchmark {config.name!r}; there are: {', '.join(NAMES)}")
    missing = missing_data(config.name, root=config.root, tasks=config.tasks)
    specs = choose_tasks(get_spec(config.name), config.tasks)
    if config.json:
        found = [
            {
                "name": about.name,
                "modality": about.modality,
                "meta": about.meta,
                "split": about.split,
                "metric": about.metric,
                "queries": about.queries,
                "missing": missing[about.name],
            }
            for about in specs
        ]
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return 0
    table = Table("data set", "kind", "split", "metric", "queries", "here", title=config.name)
    table.columns[4].justify = "right"
    for about in specs:
        queries = "" if about.queries is None else f"{about.queries:,}"
        kind = f"{about.modality}: {group_title(about.meta)}"
        here = "no" if missing[about.name] else "yes"
        table.add_row(about.name, kind, about.split or "", metric_title(about.metric), queries, here)
    Console().print(table)
    absent = sum(what is not None for what in missing.values())
    how = f"; llave data download {config.name} --out DIR fetches what is missing" if absent else ""
    sys.stdout.write(f"{len(specs) - absent} of {len(specs)} data sets are on this machine{how}\n")
    return 0


def _first_line(recipe: Path) -> str:
    """What a recipe's comment begins with."""
    return recipe.read_text("utf-8").splitlines()[0].removeprefix("# ").split(". ")[0].split(": ")[0].rstrip(":.,")
