"""The report's headline, in words computed from the numbers."""

from collections.abc import Mapping
from typing import Any

__all__ = ["SIGNIFICANT", "summarise", "verdict"]

SIGNIFICANT = 0.05


def summarise(results: Mapping[str, Any]) -> list[str]:
    """Sentences about the results of :func:`llave.evaluation.aggregate.aggregate`, the most important first."""
    seeds = len(results["seeds"])
    sentences = [sentence(paired, seeds) for paired in results["paired"] for sentence in (verdict, _evidence)]
    sentences += [_level(name, model) for name, model in results["models"].items()]
    sentences += [_gap(results["models"])]
    if seeds == 1:
        sentences.append("One seed: no interval over seeds, so what another training run would give is unknown.")
    skipped = max(max(model["skipped"]) for model in results["models"].values())
    if skipped:
        rows = f"{skipped} row{'s' * (skipped != 1)}"
        sentences.append(f"{rows} per evaluation skipped, because a picture or text could not be embedded.")
    return [sentence for sentence in sentences if sentence]


def verdict(paired: Mapping[str, Any], seeds: int) -> str:
    """Whether a model's overall P@1 differs from the first one's, from a part of ``paired``."""
    overall = paired["groups"]["overall"]
    points = 100 * overall["difference"]
    model, baseline = paired["model"], paired["baseline"]
    if abs(points) < 0.05:
        text = f"{model} and {baseline} score the same overall P@1 to within 0.05 points"
    else:
        direction = "above" if points > 0 else "below"
        text = f"{model} scores {abs(points):.1f} points {direction} {baseline} in overall P@1"
    if overall["p"] is None:
        return f"{text}, with one seed: no interval, so the difference may be chance."
    found = "a significant difference" if overall["p"] < SIGNIFICANT else "no significant difference"
    return f"{text}: {found} over {seeds} seeds."


def _evidence(paired: Mapping[str, Any], seeds: int) -> str:
    """The statistics behind the verdict; nothing where one seed gives none."""
    overall = paired["groups"]["overall"]
    if overall["p"] is None:
        return ""
    low, high = (f"{100 * end:+.1f}".replace("-", "\N{MINUS SIGN}") for end in overall["ci95"])
    text = f"95% interval of the difference: {low} to {high} points; sign-flip test over seeds: p = {overall['p']:.3f}"
    if paired["smallest_p"] < SIGNIFICANT:
        return f"{text}."
    return (
        f"{text}, where {seeds} seeds cannot give less than {paired['smallest_p']:.3f}, however large the difference."
    )


def _level(name: str, model: Mapping[str, Any]) -> str:
    groups, datasets = model["meta"], model["datasets"]
    overall = groups["overall"]
    text = f"{name}: P@1 {_percent(overall['p_at_1'])}% over {overall['queries']:,} queries of {_count(datasets)}"
    parts = [
        f"{title} {_percent(groups[split]['p_at_1'])}%"
        for split, title in (("ind", "in distribution"), ("ood", "out of distribution"))
        if split in groups and len(groups) > 2
    ]
    if len(parts) == 2:
        text += f" ({', '.join(parts)})"
    if len(datasets) > 1:
        ranked = sorted(datasets, key=lambda key: float(datasets[key]["p_at_1"]))
        worst, best = ranked[0], ranked[-1]
        text += f"; best on {best} ({_percent(datasets[best]['p_at_1'])}%)"
        text += f", worst on {worst} ({_percent(datasets[worst]['p_at_1'])}%)"
    return text + "."


def _gap(models: Mapping[str, Any]) -> str:
    gaps = {name: model["meta"]["overall"] for name, model in models.items()}
    known = {name: gap for name, gap in gaps.items() if gap["gap_hard"] is not None}
    if not known:
        return ""
    hard = ", ".join(f"{name} {gap['gap_hard']:.2f}" for name, gap in known.items())
    easy = ", ".join(f"{name} {gap['gap_easy']:.2f}" for name, gap in known.items())
    text = f"Mean cosine of the positive minus that of the hard negatives: {hard}; minus that of the easy ones: {easy}."
    return text.replace("-0.00", "0.00").replace(" -", " \N{MINUS SIGN}")


def _count(datasets: Mapping[str, Any]) -> str:
    return f"{len(datasets)} data set{'s' if len(datasets) != 1 else ''}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"
