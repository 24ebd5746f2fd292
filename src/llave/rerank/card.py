"""The card of a trained reranker: README.md with the Hub's front matter, how to use it, and how it was trained."""

from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["reranker_card"]

HERE = ("output", "feature_cache", "resume")
"""Keys that say where and how a run went on one machine, not what was learned."""


def reranker_card(record: dict[str, Any], *, name: str, seconds: float) -> str:
    """Markdown with YAML front matter.

    Args:
        record: of ``run.json``.
        name: of the reranker.
        seconds: of training.
    """
    config = record["config"]
    shared = {key: value for key, value in config.items() if key not in HERE and value is not None}
    environment = Environment(
        loader=PackageLoader("llave.rerank"), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    return environment.get_template("card.md.j2").render(
        name=name,
        base=config["model"],
        needs_llave=record["class"].startswith("Nano"),
        versions=record["versions"],
        steps=record["steps"],
        lists=record["lists"],
        rows=record["rows"],
        loss=config["loss"],
        negatives=config["negatives"],
        minutes=f"{seconds / 60:.1f}",
        hardware=record["machine"]["device"],
        recipe=yaml.safe_dump(shared, sort_keys=False, default_flow_style=None, width=120),
    )
