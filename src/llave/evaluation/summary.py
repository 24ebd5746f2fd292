"""The report's headline, in words computed from the numbers."""

from collections.abc import Mapping
from typing import Any

__all__ = ["SIGNIFICANT", "summarise", "verdict"]

SIGNIFICANT = 0.05


def summarise(results: Mapping[str, Any]) -> list[str]:
    """Sentences about the results of :func:`llave.evaluation.aggregate.aggregate`, the most important first."""
    sentences = [verdict(results)] if "paired" in results else []
    sentences += [_level(name, model) for name, model in results["models"].items()]
    sentences += [_gap(results["models"])]
    if len(results["seeds"]) == 1:
        sentences.append("One seed: no interval over seeds, so what another training run would give is unknown.")
    skipped = sum(sum(model["skipped"]) for model in results["models"].values())
    if skipped:
        sentences.append(f"{skipped} rows were skipped because a picture or text in them could not be embedded.")
    return [sentence for sentence in sentences if sentence]


def verdict(results: Mapping[str, Any]) -> str:
    """How the second model compares with the first, overall and out of distribution."""
    paired = results["paired"]
    overall = paired["groups"]["overall"]
    points = 100 * overall["difference"]
    model, baseline = paired["model"], paired["baseline"]
    if abs(points) < 0.05:
        text = f"{model} and {baseline} score the same overall P@1 to within 0.05 points"
    else:
        direction = "above" if points > 0 else "below"
        text = f"{model} scores {abs(points):.1f} points {direction} {baseline} in overall P@1"
    if overall["p"] is None:
        return f"{text}, with one seed: no interval, so the difference may be chance of training."
    low, high = (100 * end for end in overall["ci95"])
    seeds = len(results["seeds"])
    text += f" (mean over {seeds} seeds; 95% interval of the difference {low:+.1f} to {high:+.1f}): "
    if overall["p"] < SIGNIFICANT:
        return f"{text}a significant difference (sign-flip test over seeds, p = {overall['p']:.3f})."
    text += f"no significant difference (sign-flip test over seeds, p = {overall['p']:.3f}"
    if paired["smallest_p"] >= SIGNIFICANT:
        return f"{text}; with {seeds} seeds this test cannot give less than {paired['smallest_p']:.3f})."
    return f"{text})."


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
    parts = [f"{gap['gap_hard']:.2f} ({name}, easy negatives {gap['gap_easy']:.2f})" for name, gap in known.items()]
    return f"Mean cosine gap between the positive and the hard negatives: {', '.join(parts)}."


def _count(datasets: Mapping[str, Any]) -> str:
    return f"{len(datasets)} data set{'s' if len(datasets) != 1 else ''}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"
