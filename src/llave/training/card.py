"""The model card: README.md with the data, the recipe and the scores of a run, and the Hub's front matter."""

from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["model_card", "recipe_yaml", "with_scores"]

UNSCORED = "Not evaluated in this run; `llave eval` does.\n"
HERE = ("output", "feature_cache", "resume", "dry_run")
"""Keys that say where and how a run went on one machine, not what was learned."""


def model_card(
    record: dict[str, Any],
    *,
    name: str,
    dimensions: int,
    processes: int,
    seconds: float,
    citation: str,
    score: dict[str, Any] | None = None,
) -> str:
    """Markdown with YAML front matter.

    Args:
        record: of ``run.json``.
        name: of the model.
        dimensions: of its vectors.
        processes: that trained it.
        seconds: of training.
        citation: BibTeX.
        score: step, metric and results of the evaluation of this very model; None where there was none.
    """
    config = record["config"]
    base = config["model"]
    return (
        _environment()
        .get_template("card.md.j2")
        .render(
            name=name,
            base_model=base if _is_hub_id(base) else None,
            base_text=_base_text(base),
            needs_llave=record["class"] == "NanoModel",
            fusion=record["fusion"],
            late=config.get("task") == "late",
            dimensions=dimensions,
            versions=record["versions"],
            steps=record["steps"],
            batch=config["batch_size"] * processes,
            processes=processes,
            duration=_duration(seconds),
            hardware=record["machine"]["device"],
            loss=config["loss"],
            temperatures=record.get("temperatures"),
            adapter=config["adapter"],
            ema=config.get("ema"),
            rows=record["seen"],
            prompts={name: text for name, text in record["prompts"].items() if text},
            skipped=len(record["skipped"]),
            held_out=sum(record.get("held_out", {}).values()),
            recipe=recipe_yaml(config),
            score=score,
            kept=bool(config["evaluate"] and config["evaluate"]["keep_best"]),
            limit=config["evaluate"]["limit"] if config["evaluate"] else None,
            queries=_queries(score["results"]) if score else 0,
            citation=citation,
            unscored=UNSCORED,
        )
    )


def with_scores(card: str, results: dict[str, Any], *, limit: int | None = None) -> str:
    """The card of a run without an evaluation, with the scores of a later one.

    Args:
        results: as :meth:`~llave.evaluation.result.EvalResult.to_json` says them.
        limit: first rows of each data set that were scored; None is all.
    """
    scores = _environment().get_template("scores.md.j2")
    score = {"step": None, "results": results}
    return card.replace(UNSCORED, scores.render(score=score, kept=False, limit=limit, queries=_queries(results)))


def _environment() -> Environment:
    loader = PackageLoader("llave.training")
    return Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)


def _queries(results: dict[str, Any]) -> int:
    return sum(task["queries"] for task in results["datasets"].values())


def recipe_yaml(config: dict[str, Any]) -> str:
    """The recipe without what belongs to one machine; ``llave train`` reads it back."""
    shared = {key: value for key, value in config.items() if key not in HERE and value is not None}
    text: str = yaml.safe_dump(shared, sort_keys=False, default_flow_style=None, width=120)
    return text


def _is_hub_id(base: str) -> bool:
    return base.count("/") == 1 and not base.startswith((".", "/", "~")) and not Path(base).exists()


def _base_text(base: str) -> str:
    if base == "nano":
        return "llave's nano model (EfficientNet-Lite0 and all-MiniLM-L6-v2)"
    return f"[{base}](https://huggingface.co/{base})" if _is_hub_id(base) else f"`{Path(base).name}`"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
