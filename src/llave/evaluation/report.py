"""The gap report: one HTML file with tables, histograms and the hardest negatives, for any browser, offline."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from llave.data.mmeb import Item
from llave.evaluation.aggregate import ModelRun, aggregate
from llave.evaluation.inline import inline_svg, thumbnail
from llave.evaluation.plots import COLOURS, cosine_limits, group_bars, histograms, save_figure
from llave.evaluation.similarity_gap import Gap, HardNegative, hardest_negatives, similarity_gap
from llave.evaluation.summary import summarise
from llave.evaluation.titles import group_title

__all__ = ["write_gap_report", "write_plots"]

TEXT_LIMIT = 240
PACKAGES = ("llave", "torch", "transformers", "sentence-transformers")


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
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "cosine": _cosine, "estimate": _estimate, "signed": _signed}
    html = environment.get_template("report.html.j2").render(
        title=title,
        results=results,
        first=next(iter(results["models"].values())),
        paired=results.get("paired"),
        summary=summarise(results),
        group_title=group_title,
        bars=inline_svg(group_bars(results, title=False), "bars", _bars_description(results)),
        histograms={name: _histograms(name, gaps, number) for number, name in enumerate(run.results[0].tasks)},
        colours=COLOURS,
        shown=shown,
        gallery={name: [_gallery_entry(entry) for entry in entries] for name, entries in gallery.items()},
        settings=_settings(model_runs, settings or {}),
        errors=list(errors),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html, "utf-8")
    return results


def write_plots(out_dir: Path, model_runs: Mapping[str, ModelRun]) -> list[Path]:
    """Write the figures as PNG and SVG files: ``groups`` and one per data set (first seed). Returns their paths."""
    paths = save_figure(group_bars(aggregate(model_runs)), out_dir / "groups")
    gaps = {name: similarity_gap(run.results[0]) for name, run in model_runs.items()}
    for dataset in next(iter(gaps.values())):
        of_models = {name: gap[dataset] for name, gap in gaps.items()}
        paths += save_figure(histograms(of_models, dataset), out_dir / dataset)
    return paths


def _histograms(dataset: str, gaps: Mapping[str, Mapping[str, Gap]], number: int) -> list[dict[str, Any]]:
    of_models = {name: gap[dataset] for name, gap in gaps.items()}
    limits = cosine_limits(list(of_models.values()))
    figures = []
    for index, (model, gap) in enumerate(of_models.items()):
        description = (
            f"Histogram of cosines of {model} on {dataset}: mean of the positive {_cosine(gap.positive)}, "
            f"of hard negatives {_cosine(gap.hard)}, of easy negatives {_cosine(gap.easy)}."
        )
        figure = histograms({model: gap}, limits=limits)
        figures.append({"model": model, "svg": inline_svg(figure, f"h{number}-{index}", description)})
    return figures


def _bars_description(results: Mapping[str, Any]) -> str:
    parts = []
    for name, model in results["models"].items():
        means = {group_title(group): _percent(about["p_at_1"]) for group, about in model["meta"].items()}
        values = [f"{group} {mean}" for group, mean in means.items()]
        parts.append(f"{name}: {', '.join(values)}")
    return f"Bars of P@1 in percent. {'; '.join(parts)}."


def _gallery_entry(entry: HardNegative) -> dict[str, Any]:
    return {
        "row": entry.row,
        "wrong": entry.negative_score >= entry.positive_score,
        "parts": [
            {"role": "query", "score": None, **_item(entry.query, entry.query_image)},
            {"role": "positive", "score": entry.positive_score, **_item(entry.positive, entry.positive_image)},
            {"role": "negative", "score": entry.negative_score, **_item(entry.negative, entry.negative_image)},
        ],
    }


def _item(item: Item, image: Path | None) -> dict[str, str]:
    text = item.text if len(item.text) <= TEXT_LIMIT else item.text[: TEXT_LIMIT - 1] + "…"
    return {"text": text, "image": "" if image is None else thumbnail(image), "name": item.image}


def _settings(runs: Mapping[str, ModelRun], extra: Mapping[str, str]) -> dict[str, str]:
    first = next(iter(runs.values()))
    lines = {"benchmark": first.results[0].benchmark, "ties": first.results[0].ties}
    for name, run in runs.items():
        known = {"alpha": run.alpha, "temperature": run.temperature}
        about = [f"{key} {value:g}" for key, value in known.items() if value is not None]
        about.append(f"seed{'s' * (len(run.seeds) != 1)} {', '.join(map(str, run.seeds))}")
        lines[name] = "; ".join([*about, *(f"{key} {value}" for key, value in run.settings.items())])
    lines |= {**extra, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            lines[package] = version(package)
        except PackageNotFoundError:  # llave run from its source tree
            lines[package] = "not installed as a package"
    return lines


def _percent(fraction: float | None) -> str:
    return "none" if fraction is None else f"{100 * fraction:.1f}"


def _cosine(value: float | None) -> str:
    return "none" if value is None else f"{round(value, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")


def _signed(fraction: float) -> str:
    return f"{100 * fraction:+.1f}".replace("-", "\N{MINUS SIGN}")


def _estimate(about: Mapping[str, Any]) -> str:
    """Mean ± half width over seeds, or the mean with its ends over queries; percent."""
    mean, interval = _percent(about["p_at_1"]), about["ci95"]
    if interval is None:
        return mean
    if about.get("ci95_over", "seeds") == "seeds":
        return f"{mean} ± {50 * (interval[1] - interval[0]):.1f}"
    return f"{mean} ({_percent(interval[0])} to {_percent(interval[1])})"
