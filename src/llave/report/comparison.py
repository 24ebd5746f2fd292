"""Two evaluations side by side as a page: differences with their intervals."""

from pathlib import Path

from llave.evaluation.compare import Comparison, Difference
from llave.report.page import percent, signed, versions, write_page

__all__ = ["write_comparison"]


def write_comparison(path: Path, comparison: Comparison, a: str, b: str) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        comparison: what ``compare_results`` found.
        a: name of the baseline.
        b: name of the model.
    """
    every = [*comparison.groups, *comparison.datasets]
    write_page(
        path,
        "compare.html.j2",
        title="Two evaluations compared",
        a=a,
        b=b,
        verdict=_verdict(comparison.groups[-1]),
        tables={"Means over data sets": comparison.groups, "Data sets": comparison.datasets},
        reach=max([0.01, *(abs(end) for each in every for end in each.ci95)]),
        only=comparison.only,
        errors=[],
        settings=versions(),
    )


def _verdict(overall: Difference) -> str:
    low, high = overall.ci95
    ends = f"{signed(low)} to {signed(high)}"
    sure = "which excludes zero" if low > 0 or high < 0 else "which includes zero"
    scores = f"B scores {percent(overall.b)}, A {percent(overall.a)}"
    return f"{scores}: {signed(overall.difference)} points, 95% interval {ends}, {sure}."
