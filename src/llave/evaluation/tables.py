"""Results as tables for a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from llave.evaluation.result import GROUP_TITLES, EvalResult

__all__ = ["comparison_table", "dataset_table", "group_table"]


def dataset_table(result: EvalResult) -> Table:
    """P@1, interval and number of queries per data set, in percent."""
    table = Table(title=f"{result.benchmark}: P@1 per data set", caption="95% interval: bootstrap over queries")
    for heading in ("data set", "meta-task", "split"):
        table.add_column(heading)
    for heading in ("P@1 %", "95% interval", "queries", "skipped"):
        table.add_column(heading, justify="right")
    for task in result.tasks.values():
        low, high = task.ci95
        interval = f"{100 * low:.1f} to {100 * high:.1f}"
        numbers = (f"{100 * task.p_at_1:.1f}", interval, f"{task.queries:,}", str(task.skipped))
        table.add_row(task.name, task.meta_task, task.split, *numbers)
    return table


def group_table(result: EvalResult) -> Table:
    """Mean P@1 per meta-task and split, in percent."""
    table = Table(title=f"{result.benchmark}: mean over data sets", caption=f"ties: {result.ties}")
    table.add_column("group")
    table.add_column("data sets", justify="right")
    table.add_column("queries", justify="right")
    table.add_column("P@1 %", justify="right")
    members = result.members()
    for group, value in result.groups().items():
        queries = sum(result.tasks[name].queries for name in members[group])
        title = GROUP_TITLES.get(group, group)
        table.add_row(title, str(len(members[group])), f"{queries:,}", f"{100 * value:.1f}")
    return table


def comparison_table(results: Mapping[str, Any]) -> Table:
    """Models side by side per group, from the results of ``aggregate``: mean ± 95% half width in percent."""
    count = len(results["seeds"])
    table = Table(title=f"{results['benchmark']}: P@1 %", caption=f"mean ± 95% over {count} seed{'s' * (count != 1)}")
    table.add_column("group")
    table.add_column("queries", justify="right")
    for name in results["models"]:
        table.add_column(name, justify="right")
    paired = results.get("paired")
    if paired:
        table.add_column("difference", justify="right")
        table.add_column("p", justify="right")
    first = next(iter(results["models"].values()))
    for group, about in first["meta"].items():
        cells = [GROUP_TITLES.get(group, group), f"{about['queries']:,}"]
        cells += [_estimate(model["meta"][group]) for model in results["models"].values()]
        if paired:
            difference = paired["groups"][group]
            cells.append(f"{100 * difference['difference']:+.1f}")
            cells.append("-" if difference["p"] is None else f"{difference['p']:.3f}")
        table.add_row(*cells)
    return table


def _estimate(group: Mapping[str, Any]) -> str:
    mean, interval = group["p_at_1"], group["ci95"]
    return f"{100 * mean:.1f}" + (f" ± {50 * (interval[1] - interval[0]):.1f}" if interval else "")
