"""Tables of a committed ``ablation.json``: its means, and every data set, with differences paired by seed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llave.ablation.report import percent
from llave.evaluation.statistics import mean_ci95, paired_permutation_test, smallest_p
from llave.report.plots import forest, style
from llave.report.titles import group_title

__all__ = ["answer", "curve_table", "datasets_table", "draw_differences", "means_table", "models_table"]

Found = dict[str, Any]
GROUPS = {"overall": "over all data sets", "ood": "out of distribution"}


def means_table(found: Found, columns: Sequence[str]) -> str:
    """A row for each variant, a column for each mean or data set: its score and, in brackets, the difference."""
    heads = ["variant", *map(_title, columns), "overlap", "seeds"]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for name, variant in found["variants"].items():
        cells = [f"**{name}**" if name == found["baseline"] else name]
        for column in columns:
            gained = _compared(found, name, column)
            score = percent(mean_ci95(list(_scores(variant, column).values())))
            cells.append(f"{score} ({gained})" if gained else score)
        overlaps = [value for run in variant["runs"] for value in run["overlaps"].values()]
        lines.append(_row([*cells, f"{sum(overlaps) / len(overlaps):.2f}", str(len(variant["runs"]))]))
    return "\n".join([*lines, "", f"In brackets: differences to {found['baseline']}. {note(found)}"])


def curve_table(found: Found) -> str:
    """A row for each variant: its scores while it trained, and in the end."""
    steps = [point["step"] for point in next(iter(found["variants"].values()))["runs"][0]["curve"]]
    heads = ["variant", *(f"{group} after {step}" for group in GROUPS for step in map(str, steps))]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for name, variant in found["variants"].items():
        curves = [run["curve"] for run in variant["runs"]]
        cells = [
            percent(mean_ci95([curve[place][group] for curve in curves]))
            for group in GROUPS
            for place in range(len(steps))
        ]
        lines.append(_row([name, *cells]))
    return "\n".join([*lines, "", f"After so many steps. {note(found)}"])


def models_table(found: Found, titles: Mapping[str, str], groups: Sequence[str]) -> str:
    """A row for each group, a column for each variant, and what each gains on the baseline."""
    return _by_row(found, titles, groups, _title)


def datasets_table(found: Found, titles: Mapping[str, str]) -> str:
    """A row for each data set."""
    return _by_row(found, titles, list(found["queries"]), lambda name: f"`{name}`")


def _by_row(found: Found, titles: Mapping[str, str], keys: Sequence[str], title: Callable[[str], str]) -> str:
    others = [name for name in titles if name != found["baseline"]]
    heads = ["P@1 %", *titles.values(), *(f"{titles[name]}, difference" for name in others), "p"]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for key in keys:
        scores = [percent(mean_ci95(list(_scores(found["variants"][name], key).values()))) for name in titles]
        p = [_p(found, name, key) for name in others]
        lines.append(_row([title(key), *scores, *(_compared(found, name, key) for name in others), "; ".join(p)]))
    return "\n".join([*lines, "", note(found)])


def answer(found: Found, titles: Mapping[str, str]) -> str:
    """What each variant is worth against the baseline, in words made of the numbers."""
    lines = []
    for name in titles:
        if name == found["baseline"]:
            continue
        groups = ", ".join(f"{_gain(found, name, group)} points {where}" for group, where in GROUPS.items())
        better, worse = (_beyond_chance(found, name, sign) or "nothing" for sign in (1, -1))
        whom = titles[found["baseline"]]
        lines.append(
            f"- **{titles[name]}: {groups}** against {whom}. Better beyond its interval: {better}; worse: {worse}."
        )
    return "\n".join(lines)


def _gain(found: Found, variant: str, key: str) -> str:
    return percent(mean_ci95(_paired(found, variant, key)), sign=True)


def _beyond_chance(found: Found, variant: str, sign: int) -> str:
    """Data sets whose interval lies on one side of zero, the farthest first."""
    estimates = {name: mean_ci95(_paired(found, variant, name)) for name in found["queries"]}
    chosen = [name for name, one in estimates.items() if sign * one.mean > (one.half_width or 0)]
    chosen.sort(key=lambda name: -sign * estimates[name].mean)
    return ", ".join(f"`{name}` {percent(estimates[name], sign=True)}" for name in chosen)


def draw_differences(found: Found, titles: Mapping[str, str], path: Path) -> None:
    """What each variant gains on the baseline, data set by data set, as ``path``.png."""
    names = list(found["queries"])
    series = {
        title: [mean_ci95(_paired(found, variant, name)) for name in names]
        for variant, title in titles.items()
        if variant != found["baseline"]
    }
    with style():
        xlabel = f"P@1 points above {titles[found['baseline']]}, 95% interval over seeds"
        forest(names, series, xlabel=xlabel).savefig(path.with_suffix(".png"), dpi=110)


def note(found: Found) -> str:
    """What the numbers are, and where they come from."""
    seeds = sorted({run["seed"] for variant in found["variants"].values() for run in variant["runs"]})
    over = f"mean ± half of the 95% interval (Student's t) over {len(seeds)} seeds ({seeds[0]} to {seeds[-1]})"
    tested = f"; p of an exact sign-flip test, at least {smallest_p(len(seeds)):.3f} by construction"
    several = len(seeds) > 1
    parts = [
        f"P@1 %, {over if several else f'one seed ({seeds[0]}), so no interval'}",
        f"; {len(found['queries'])} data sets, {sum(found['queries'].values()):,} queries. ",
        f"Differences to {found['baseline']}, paired by seed{tested if several else ''}. ",
        f"{found['machine']}, {_commits(found)}: `{found['command']}`",
    ]
    return "".join(parts)


def _commits(found: Found) -> str:
    """Those of the runs; older files know only that of their writing."""
    runs = [run.get("commit") for variant in found["variants"].values() for run in variant["runs"]]
    commits = sorted({commit[:7] for commit in runs if commit}) or [found["code"]["commit"][:7]]
    return f"commit {', '.join(commits)}" if len(commits) == 1 else f"commits {', '.join(commits)}"


def _both(found: Found, variant: str, key: str) -> tuple[list[float], list[float]]:
    """Scores of a variant and of the baseline on the seeds that both have."""
    mine, theirs = (_scores(found["variants"][name], key) for name in (variant, found["baseline"]))
    shared = sorted(set(mine) & set(theirs))
    return [mine[seed] for seed in shared], [theirs[seed] for seed in shared]


def _paired(found: Found, variant: str, key: str) -> list[float]:
    return [a - b for a, b in zip(*_both(found, variant, key), strict=True)]


def _scores(variant: Found, key: str) -> dict[int, float]:
    """Of each seed."""
    return {run["seed"]: {**run["datasets"], **run["groups"]}[key] for run in variant["runs"]}


def _compared(found: Found, variant: str, key: str) -> str:
    paired = _paired(found, variant, key)
    return percent(mean_ci95(paired), sign=True) if paired and variant != found["baseline"] else ""


def _p(found: Found, variant: str, key: str) -> str:
    mine, theirs = _both(found, variant, key)
    return f"{paired_permutation_test(mine, theirs):.3f}" if len(mine) > 1 else "-"


def _title(key: str) -> str:
    return group_title(key) if key in {"ind", "ood", "overall", "vqa"} else key


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
