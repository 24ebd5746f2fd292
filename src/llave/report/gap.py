"""The gap report: one HTML file with tables, histograms and the hardest negatives, for any browser, offline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llave.evaluation.aggregate import ModelRun, aggregate
from llave.evaluation.similarity_gap import Gap, hardest_negatives, similarity_gap
from llave.report.gallery import Thumbnails, gallery_entry
from llave.report.inline import inline_svg
from llave.report.page import cosine, percent, versions, write_page
from llave.report.plots import COLOURS, cosine_limits, group_bars, histograms, save_figure, small_histogram, tallest
from llave.report.summary import summarise
from llave.report.titles import group_title

__all__ = ["write_gap_report", "write_plots"]


def write_gap_report(
    path: Path,
    model_runs: Mapping[str, ModelRun],
    *,
    title: str = "Similarity gap report",
    per_task: int = 12,
    settings: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write the report and return the results behind it (see :func:`aggregate`).

    Histograms and the gallery show the first seed of each model; the gallery shows the last model, which
    is the one under study.

    Args:
        path: the HTML file.
        model_runs: one model, or several on the same data sets.
        per_task: hardest negatives shown per data set.
        settings: further lines for the table of settings.

    Raises:
        UserError: runs that cannot be compared.
    """
    results = aggregate(model_runs)
    gaps = {name: similarity_gap(run.results[0]) for name, run in model_runs.items()}
    shown, run = list(model_runs.items())[-1]
    gallery = hardest_negatives(run.results[0], per_task)
    errors = {
        (error.file, error.message): None for r in model_runs.values() for res in r.results for error in res.errors
    }
    thumbnails = Thumbnails()
    write_page(
        path,
        "report.html.j2",
        title=title,
        results=results,
        first=next(iter(results["models"].values())),
        paired=results["paired"],
        summary=summarise(results),
        bars=inline_svg(group_bars(results, title=False), "bars", _bars_description(results)),
        histograms=_histograms(gaps),
        colours=COLOURS,
        shown=shown,
        gallery={name: [gallery_entry(entry, thumbnails) for entry in entries] for name, entries in gallery.items()},
        thumbnails=thumbnails,
        estimate=_estimate,
        settings=_settings(model_runs, settings or {}),
        errors=list(errors),
    )
    return results


def write_plots(out_dir: Path, model_runs: Mapping[str, ModelRun]) -> list[Path]:
    """Write the figures as PNG and SVG files: ``groups`` and one per data set (first seed). Returns their paths."""
    paths = save_figure(group_bars(aggregate(model_runs)), out_dir / "groups")
    gaps = {name: similarity_gap(run.results[0]) for name, run in model_runs.items()}
    for dataset in next(iter(gaps.values())):
        of_models = {name: gap[dataset] for name, gap in gaps.items()}
        paths += save_figure(histograms(of_models, dataset), out_dir / dataset)
    return paths


def _histograms(gaps: Mapping[str, Mapping[str, Gap]]) -> dict[str, list[dict[str, Any]]]:
    """Of each data set, a small one for each model."""
    limits = cosine_limits(gap for of_model in gaps.values() for gap in of_model.values())
    found: dict[str, list[dict[str, Any]]] = {}
    for number, dataset in enumerate(next(iter(gaps.values()))):
        top = tallest((of_model[dataset] for of_model in gaps.values()), limits)
        for index, (model, of_model) in enumerate(gaps.items()):
            gap = of_model[dataset]
            description = (
                f"Histogram of cosines of {model} on {dataset}: mean of the positive {cosine(gap.positive)}, "
                f"of hard negatives {cosine(gap.hard)}, of easy negatives {cosine(gap.easy)}."
            )
            figure = small_histogram(gap, model, limits=limits, top=top)
            svg = inline_svg(figure, f"h{number}-{index}", description)
            found.setdefault(dataset, []).append({"model": model, "svg": svg})
    return found


def _bars_description(results: Mapping[str, Any]) -> str:
    parts = []
    for name, model in results["models"].items():
        means = {group_title(group): percent(about["p_at_1"]) for group, about in model["meta"].items()}
        values = [f"{group} {mean}" for group, mean in means.items()]
        parts.append(f"{name}: {', '.join(values)}")
    return f"Bars of P@1 in percent. {'; '.join(parts)}."


def _settings(runs: Mapping[str, ModelRun], extra: Mapping[str, str]) -> dict[str, str]:
    first = next(iter(runs.values()))
    lines = {"benchmark": first.results[0].benchmark, "ties": first.results[0].ties}
    for name, run in runs.items():
        known = {"alpha": run.alpha, "temperature": run.temperature}
        about = [f"{key} {value:g}" for key, value in known.items() if value is not None]
        about.append(f"seed{'s' * (len(run.seeds) != 1)} {', '.join(map(str, run.seeds))}")
        lines[name] = "; ".join([*about, *(f"{key} {value}" for key, value in run.settings.items())])
    return {**lines, **extra, **versions()}


def _estimate(about: Mapping[str, Any]) -> str:
    """Mean ± half width over seeds, or the mean with its ends over queries; percent."""
    mean, interval = percent(about["p_at_1"]), about["ci95"]
    if interval is None:
        return mean
    if about.get("ci95_over", "seeds") == "seeds":
        return f"{mean} ± {50 * (interval[1] - interval[0]):.1f}"
    return f"{mean} ({percent(interval[0])} to {percent(interval[1])})"
