"""``llave eval compare A B …``."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from llave.cli.parsing import parse

__all__ = ["CompareConfig", "run"]


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Two evaluations, or more.

    Args:
        a: the baseline: an --out folder of llave eval.
        b: the model: another one, of the same benchmark; or several, each compared with the baseline.
        html: a page with the differences goes here; null writes none.
        json: print JSON instead of tables.
    """

    a: Path
    b: list[Path]
    html: Path | None = None
    json: bool = False


def run(argv: list[str]) -> int:
    """Print the differences."""
    config = parse(
        CompareConfig,
        argv,
        command="eval compare",
        description="B minus A, query by query: 95% bootstrap intervals, and a sign-flip test per data set. "
        "Example: llave eval compare runs/eval-infonce runs/eval-hardness. Further folders are compared with A, too.",
        positional=("a", "b+"),
    )
    from rich.console import Console

    from llave.evaluation.compare import compare_results
    from llave.report.comparison import write_comparison
    from llave.report.tables import difference_table

    found = {str(b): compare_results(config.a, b) for b in config.b}
    if config.html is not None:
        write_comparison(config.html, str(config.a), found)
    if config.json:
        content = {name: comparison.to_json() for name, comparison in found.items()}
        content = content if len(found) > 1 else content[str(config.b[0])]
        sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        return 0
    console = Console()
    for name, comparison in found.items():
        of = f" of B = {name}" if len(found) > 1 else ""
        console.print(difference_table(comparison.datasets, f"data sets{of}"))
        console.print(difference_table(comparison.groups, f"means over data sets{of}"))
    if config.html is not None:
        console.print(f"report: {config.html}", soft_wrap=True, markup=False, highlight=False)
    for name, comparison in found.items():
        if comparison.only:
            sys.stderr.write(f"llave: only in one of {config.a} and {name}: {', '.join(comparison.only)}\n")
    return 0
