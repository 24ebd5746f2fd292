"""Results as tables for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from llave.evaluation.compare import Difference
from llave.evaluation.result import EvalResult
from llave.report.titles import group_title, metric_title

__all__ = ["before_after_table", "comparison_table", "dataset_table", "difference_table", "group_table"]


def dataset_table(result: EvalResult) -> Table:
    """Score, interval and number of queries per data set, in percent."""
    table = Table(title=f"{result.benchmark}: data sets", caption="95% interval: bootstrap over queries")
    for heading in ("data set", "meta-task", "split"):
        table.add_column(heading)
    for heading in ("metric", "score %", "95% interval", "queries", "skipped"):
        table.add_column(heading, justify="right")
    for task in result.tasks.values():
        low, high = task.ci95
        numbers = (f"{100 * task.score:.1f}", f"{100 * low:.1f} to {100 * high:.1f}", f"{task.queries:,}")
        about = (task.name, group_title(task.meta_task), task.split or "")
        table.add_row(*about, metric_title(task.metric), *numbers, str(task.skipped))
    return table


def group_table(result: EvalResult) -> Table:
    """Mean score per group, in percent."""
    table = Table(title=f"{result.benchmark}: mean over data sets", caption=f"ties: {result.ties}")
    table.add_column("group")
    for heading in ("data sets", "queries", "score %", "95% interval"):
        table.add_column(heading, justify="right")
    members, intervals = result.members(), result.group_intervals()
    for group, value in result.groups().items():
        queries = sum(result.tasks[name].queries for name in members[group])
        low, high = intervals[group]
        interval = f"{100 * low:.1f} to {100 * high:.1f}"
        table.add_row(group_title(group), str(len(members[group])), f"{queries:,}", f"{100 * value:.1f}", interval)
    return table


def difference_table(differences: Sequence[Difference], title: str) -> Table:
    """B minus A per row, in points."""
    table = Table(title=title, caption="points; 95% interval: bootstrap over queries; p: sign-flip test over queries")
    table.add_column("")
    for heading in ("A %", "B %", "B - A", "95% interval", "p", "queries", "won", "lost"):
        table.add_column(heading, justify="right")
    for each in differences:
        low, high = each.ci95
        table.add_row(
            group_title(each.name),
            f"{100 * each.a:.1f}",
            f"{100 * each.b:.1f}",
            f"{100 * each.difference:+.1f}",
            f"{100 * low:+.1f} to {100 * high:+.1f}",
            "" if each.p is None else f"{each.p:.3f}",
            f"{each.queries:,}",
            f"{each.won:,}",
            f"{each.lost:,}",
        )
    return table


def before_after_table(scores: Mapping[str, Any]) -> Table:
    """What ``llave fit`` has changed, in percent and points, from the scores in its ``fit.json``."""
    table = Table(title="test part: P@1 %", caption="in points; intervals at 95%: bootstrap over queries")
    table.add_column("")
    for heading in ("before", "after", "difference", "p", "queries"):
        table.add_column(heading, justify="right")
    rows = scores["datasets"]
    for each in rows if len(rows) == 1 else [*rows, scores["overall"]]:
        low, high = each["ci95"]
        scored = (f"{100 * each['a']:.1f}", f"{100 * each['b']:.1f}")
        change = f"{100 * each['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        name = "mean" if each["name"] == "overall" else each["name"].replace("_", " ")
        table.add_row(name, *scored, change, f"{each['p']:.3f}", f"{each['queries']:,}")
    return table


def comparison_table(results: Mapping[str, Any]) -> Table:
    """Models side by side per group, from the results of ``aggregate``: mean ± 95% half width in percent, and below it
    the difference to the first model with its p."""
    count = len(results["seeds"])
    paired = {each["model"]: each["groups"] for each in results["paired"]}
    said = f"mean ± 95% over {count} seed{'s' * (count != 1)}"
    if paired:
        said += f"; second line: difference to {results['paired'][0]['baseline']}, with p over seeds"
    table = Table(title=f"{results['benchmark']}: P@1 %", caption=said)
    table.add_column("group")
    table.add_column("queries", justify="right")
    for name in results["models"]:
        table.add_column(name, justify="right")
    first = next(iter(results["models"].values()))
    for group, about in first["meta"].items():
        cells = [_estimate(model["meta"][group]) for model in results["models"].values()]
        below = [_difference(paired[name][group]) if name in paired else "" for name in results["models"]]
        lines = zip(cells, below, strict=True)
        shown = (f"{cell}\n{line}" if line else cell for cell, line in lines)
        table.add_row(group_title(group), f"{about['queries']:,}", *shown, end_section=bool(paired))
    return table


def _difference(found: Mapping[str, Any]) -> str:
    """In points, with p where there is one."""
    points = f"{100 * found['difference']:+.1f}"
    return points if found["p"] is None else f"{points}, {found['p']:.3f}"


def _estimate(group: Mapping[str, Any]) -> str:
    mean, interval = group["p_at_1"], group["ci95"]
    return f"{100 * mean:.1f}" + (f" ± {50 * (interval[1] - interval[0]):.1f}" if interval else "")
