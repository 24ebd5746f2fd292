"""Evaluations side by side as a page: differences to the first of them with their intervals."""

from collections.abc import Mapping
from pathlib import Path
from string import ascii_uppercase

from llave.errors import UserError
from llave.evaluation.compare import Comparison, Difference
from llave.report.page import percent, signed, versions, write_page

__all__ = ["write_comparison"]


def write_comparison(path: Path, a: str, comparisons: Mapping[str, Comparison]) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        a: name of the baseline.
        comparisons: what ``compare_results`` found, by the name of each model.

    Raises:
        UserError: more models than letters.
    """
    if len(comparisons) >= len(ascii_uppercase):
        raise UserError(f"a page shows {len(ascii_uppercase) - 1} models beside the baseline, not {len(comparisons)}")
    letters = dict(zip(ascii_uppercase[1:], comparisons.items(), strict=False))
    every = [each for comparison in comparisons.values() for each in (*comparison.groups, *comparison.datasets)]
    write_page(
        path,
        "compare.html.j2",
        title="Two evaluations compared" if len(letters) == 1 else f"{1 + len(letters)} evaluations compared",
        a=a,
        models={letter: name for letter, (name, _) in letters.items()},
        verdicts=[_verdict(letter, found.groups[-1]) for letter, (_, found) in letters.items()],
        tables={
            "Means over data sets": {letter: found.groups for letter, (_, found) in letters.items()},
            "Data sets": {letter: found.datasets for letter, (_, found) in letters.items()},
        },
        reach=max([0.01, *(abs(end) for each in every for end in each.ci95)]),
        only={letter: found.only for letter, (_, found) in letters.items() if found.only},
        errors=[],
        settings=versions(),
    )


def _verdict(letter: str, overall: Difference) -> str:
    low, high = overall.ci95
    ends = f"{signed(low)} to {signed(high)}"
    sure = "which excludes zero" if low > 0 or high < 0 else "which includes zero"
    scores = f"{letter} scores {percent(overall.b)}, A {percent(overall.a)}"
    return f"{scores}: {signed(overall.difference)} points, 95% interval {ends}, {sure}."
