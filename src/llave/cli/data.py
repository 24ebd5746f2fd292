"""``llave data sample | check | summary``."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from llave.cli.parsing import parse
from llave.errors import UserError

__all__ = ["CheckConfig", "SampleConfig", "SummaryConfig", "run"]

USAGE = """usage: llave data COMMAND [options]

  sample    make the sample data set: emoji by several artists, in MMEB's format
  check     find missing pictures, bad columns, empty or duplicate candidates in a folder
  summary   rows, candidates and pictures of each data set in a folder

llave data COMMAND --help explains each
"""


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """The sample data set.

    Args:
        out: folder to make; an existing sample of the same seed is left as it is.
        seed: everything is a function of it.
        max_queries: at most this many queries in each evaluation set.
        cache: where the downloaded packages are kept; null is ~/.cache/llave.
    """

    out: Path
    seed: int = 0
    max_queries: int = 1000
    cache: Path | None = None


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """A check of a folder in MMEB's format.

    Args:
        folder: the folder with train/, eval/ and images/.
        decode: also decode every picture (slower; finds truncated files).
        json: print the problems as JSON lines.
    """

    folder: Path
    decode: bool = True
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class SummaryConfig:
    """A summary of a folder in MMEB's format.

    Args:
        folder: the folder with train/, eval/ and images/.
        json: print JSON instead of a table.
    """

    folder: Path
    json: bool = False


def run(argv: list[str]) -> int:
    """Run a sub-command."""
    commands = {"sample": _sample, "check": _check, "summary": _summary}
    if not argv or argv[0] in {"-h", "--help"}:
        sys.stdout.write(USAGE)
        return 0
    if argv[0] not in commands:
        raise UserError(f"no command 'data {argv[0]}'; there are: {', '.join(commands)}")
    return commands[argv[0]](argv[1:])


def _sample(argv: list[str]) -> int:
    config = parse(
        SampleConfig,
        argv,
        command="data sample",
        description="Make the sample data set (emoji pictures come from npm, about 160 MB once).",
        positional=("out",),
    )
    from llave.data.sample.build import build_sample

    summary = build_sample(config.out, seed=config.seed, max_queries=config.max_queries, cache=config.cache)
    sys.stdout.write(f"{summary}\n")
    return 0


def _check(argv: list[str]) -> int:
    config = parse(
        CheckConfig,
        argv,
        command="data check",
        description="Check a folder in MMEB's format; exit code 1 if there are problems.",
        positional=("folder",),
    )
    from dataclasses import asdict

    from llave.data.check import check_folder

    problems = check_folder(config.folder, decode=config.decode)
    for problem in problems:
        line = (
            json.dumps(asdict(problem), default=str)
            if config.json
            else f"{problem.file} row {problem.row}: {problem.message}"
        )
        sys.stdout.write(line + "\n")
    if not config.json:
        sys.stdout.write(f"{len(problems)} problem{'s' * (len(problems) != 1)} in {config.folder}\n")
    return 1 if problems else 0


def _summary(argv: list[str]) -> int:
    config = parse(
        SummaryConfig,
        argv,
        command="data summary",
        description="Rows, candidates and pictures of each data set.",
        positional=("folder",),
    )
    from rich.console import Console
    from rich.table import Table

    from llave.data.check import summarise

    rows = summarise(config.folder)
    if config.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return 0
    table = Table(title=str(config.folder))
    for column in rows[0] if rows else ():
        table.add_column(column)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
    return 0
