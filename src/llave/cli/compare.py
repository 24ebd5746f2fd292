"""``llave eval compare A B``."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from llave.cli.parsing import parse

__all__ = ["CompareConfig", "run"]


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Two evaluations.

    Args:
        a: the baseline: an --out folder of llave eval.
        b: the model: another one, of the same benchmark.
        html: a page with the differences goes here; null writes none.
        json: print JSON instead of tables.
    """

    a: Path
    b: Path
    html: Path | None = None
    json: bool = False


def run(argv: list[str]) -> int:
    """Print the differences."""
    config = parse(
        CompareConfig,
        argv,
        command="eval compare",
        description="B minus A, query by query: 95% bootstrap intervals, and a sign-flip test per data set. "
        "Example: llave eval compare runs/eval-infonce runs/eval-hardness",
        positional=("a", "b"),
    )
    from rich.console import Console

    from llave.evaluation.compare import compare_results
    from llave.report.comparison import write_comparison
    from llave.report.tables import difference_table

    comparison = compare_results(config.a, config.b)
    if config.html is not None:
        write_comparison(config.html, comparison, str(config.a), str(config.b))
    if config.json:
        sys.stdout.write(json.dumps(comparison.to_json(), indent=2, ensure_ascii=False) + "\n")
        return 0
    console = Console()
    console.print(difference_table(comparison.datasets, "data sets"))
    console.print(difference_table(comparison.groups, "means over data sets"))
    if config.html is not None:
        console.print(f"report: {config.html}", soft_wrap=True, markup=False, highlight=False)
    if comparison.only:
        sys.stderr.write(f"llave: only in one of the two: {', '.join(comparison.only)}\n")
    return 0
