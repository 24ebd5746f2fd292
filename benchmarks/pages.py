"""Every table of the README and docs/ that was measured, and the file it comes from: ``python -m benchmarks.pages``.

A table stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``. To change one, measure anew and run this (``make
docs``); tests/benchmarks/test_pages.py renders all of them and compares.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.ablation_page import answer, curve_table, datasets_table, draw_differences, means_table, models_table
from benchmarks.bucket import bucket_line
from benchmarks.fit import fit_sheet
from benchmarks.graph import graph_sheet
from benchmarks.growth import draw_growth, growth_sheet
from benchmarks.hostile.table import hostile_sheet, load_sheet
from benchmarks.index import index_sheet, small_sheet
from benchmarks.large_batch import large_batch_sheet
from benchmarks.late_page import answer as late_answer
from benchmarks.late_page import models_sheet, pages_line, tiled_sheet
from benchmarks.loss_page import dims_table, draw, gpu_table, sizes_table
from benchmarks.manifest import manifest_line
from benchmarks.million import million_sheet
from benchmarks.network import measured_sheet, paper_sheet
from benchmarks.page_map import browse_sheet, map_sheet
from benchmarks.photos import photos_sheet
from benchmarks.precision import answer as int8_answer
from benchmarks.precision import quality_sheet, speed_sheet
from benchmarks.rehearsal import rehearsal_sheet
from benchmarks.replicas import replicas_answer, replicas_sheet
from benchmarks.rerank_page import rerank_table
from benchmarks.sample_sizes import icons_markdown
from benchmarks.scale import check_sheet, plan_sheet
from benchmarks.search import search_table
from benchmarks.serve_infinity import infinity_sheet
from benchmarks.sort import answer_line, cluster_table, copies_table, labels_table
from benchmarks.speed_page import ratios_table, three_ratios
from benchmarks.start import start_sheet
from benchmarks.stores import stores_sheet
from benchmarks.tables import eval_markdown, serve_markdown, train_markdown
from llave.evaluation.presets import get_preset, preset_names
from llave.report.presets import preset_markdown

__all__ = ["PLACES", "Place", "content", "rewrite", "shown"]

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a table stands, and what it shows.

    Args:
        page: from the project's root.
        name: of the place.
        source: in benchmarks/results.
        render: from the source's content to Markdown.
    """

    page: str
    name: str
    source: str
    render: Callable[[dict[str, Any]], str]


CHOICE = ("overall", "ood", "without composed", "without hard-negative columns", "composed_ood", "grounding_ood")
"""What docs/hardness.md shows of a choice."""
CONFIRMED = {"infonce": "InfoNCE", "llave": "LLaVE (α=9)", "own negatives weighed": "own negatives (α=5)"}
EVERY = "*"
GROUPS = ("classification", "vqa", "retrieval", "grounding", "ind", "ood", "overall")


def quickstart_time(found: dict[str, Any]) -> str:
    """In a sentence."""
    return (
        f"The {found['models']} models, the sample and the index took {found['seconds'] / 60:.1f} minutes and "
        f"{found['cpu_seconds'] / 60:.1f} of processor time after the installation ({found['machine']}; "
        f"commit {found['commit']})."
    )


def install_line(found: dict[str, Any]) -> str:
    """In a sentence."""
    parts = [
        f"`{name}` installs {each['bytes'] / 1e9:.1f} GB in {each['seconds'] / 60:.1f} minutes"
        for name, each in found["installations"].items()
    ]
    return (
        f"{', '.join(parts)}, with the registries nearby and two other jobs running ({found['machine']}; commit "
        f"{found['commit'][:7]}); a torch without CUDA that is there already stays, and saves most of it."
    )


def bfloat16_line(found: dict[str, Any]) -> str:
    """In a sentence."""
    overall = found["groups"]["overall"]
    low, high = (f"{100 * end:+.1f}" for end in overall["ci95"])
    return (
        f"The nano model in bfloat16 scores {100 * overall['difference']:+.1f} points beside itself in float32 "
        f"(95% interval {low} to {high}, {overall['queries']:,} queries of the sample, {overall['won']} won and "
        f"{overall['lost']} lost; {found['machine']}; commit {found['commit'][:7]}): the quickstart evaluates in it "
        "where the processor multiplies in it."
    )


PLACES = (
    Place("docs/search.md", "photos", "photos_cpu.json", lambda found: photos_sheet(found).markdown()),
    Place("README.md", "time", "quickstart_time.json", quickstart_time),
    Place("README.md", "sizes", "install.json", install_line),
    Place("docs/fit.md", "fit", "fit.json", lambda found: fit_sheet(found).markdown()),
    Place("docs/data.md", "icons", "sample_icons.json", icons_markdown),
    Place("README.md", "confirmed", "hardness_confirmed.json", lambda found: models_table(found, CONFIRMED, GROUPS)),
    Place("README.md", "answer", "hardness_confirmed.json", lambda found: answer(found, CONFIRMED)),
    Place("docs/hardness.md", "answer", "hardness_confirmed.json", lambda found: answer(found, CONFIRMED)),
    Place("docs/hardness.md", "confirmed", "hardness_confirmed.json", lambda found: means_table(found, CHOICE)),
    Place("docs/hardness.md", "datasets", "hardness_confirmed.json", lambda found: datasets_table(found, CONFIRMED)),
    Place("docs/hardness.md", "candidates", "hardness_candidates.json", lambda found: means_table(found, CHOICE)),
    Place("docs/hardness.md", "finalists", "hardness_finalists.json", lambda found: means_table(found, CHOICE)),
    Place("docs/hardness.md", "taught", "hardness_taught.json", lambda found: means_table(found, CHOICE)),
    Place("docs/hardness.md", "plateau", "hardness_plateau.json", lambda found: means_table(found, CHOICE)),
    Place("docs/hardness.md", "plateau curve", "hardness_plateau.json", curve_table),
    Place("docs/hardness.md", "few", "hardness_few.json", lambda found: means_table(found, CHOICE)),
    Place("docs/evaluation.md", "bfloat16", "bfloat16_nano.json", bfloat16_line),
    Place("README.md", "icons answer", "hardness_icons.json", lambda found: answer(found, CONFIRMED)),
    Place("docs/hardness.md", "icons answer", "hardness_icons.json", lambda found: answer(found, CONFIRMED)),
    Place("docs/hardness.md", "icons", "hardness_icons.json", lambda found: means_table(found, CHOICE)),
    Place("docs/speed.md", "ratios", EVERY, ratios_table),
    Place("README.md", "fast", EVERY, three_ratios),
    Place("docs/speed.md", "start", "start.json", start_sheet),
    Place("docs/speed.md", "graph", "graph_cpu.json", graph_sheet),
    Place("docs/speed.md", "int8 answer", "int8_cpu.json", int8_answer),
    Place("docs/speed.md", "int8 speed", "int8_cpu.json", lambda found: speed_sheet(found).markdown()),
    Place("docs/speed.md", "int8 quality", "int8_cpu.json", lambda found: quality_sheet(found).markdown()),
    Place("docs/loss.md", "sizes", "loss_cpu.json", sizes_table),
    Place("docs/loss.md", "dims", "loss_cpu.json", dims_table),
    Place("docs/loss.md", "gpu", "gpu.json", gpu_table),
    Place("docs/late_interaction.md", "models", "late_nano.json", lambda found: models_sheet(found).markdown()),
    Place("docs/late_interaction.md", "answer", "late_nano.json", late_answer),
    Place("docs/late_interaction.md", "pages", "late_nano.json", pages_line),
    Place("docs/late_interaction.md", "maxsim", "late_nano.json", lambda found: tiled_sheet(found).markdown()),
    Place("docs/training.md", "step", "train_step_cpu.json", train_markdown),
    Place("docs/training.md", "large batch", "large_batch_cpu.json", lambda found: large_batch_sheet(found).markdown()),
    Place("docs/evaluation.md", "eval", "eval_cpu.json", eval_markdown),
    Place("docs/reproduce.md", "rehearsal", "rehearsal.json", lambda found: rehearsal_sheet(found).markdown()),
    Place("docs/databases.md", "stores", "stores.json", stores_sheet),
    Place("docs/search.md", "sample", "search.json", search_table),
    Place("docs/reranking.md", "rerank nano", "rerank_nano.json", rerank_table),
    Place("docs/sort.md", "answer", "sort.json", answer_line),
    Place("docs/sort.md", "copies", "sort.json", copies_table),
    Place("docs/sort.md", "labels", "sort.json", labels_table),
    Place("docs/sort.md", "groups", "sort.json", cluster_table),
    Place("docs/search.md", "index", "index_100k.json", index_sheet),
    Place("docs/page.md", "browse", "page_map.json", browse_sheet),
    Place("docs/page.md", "map", "page_map.json", map_sheet),
    Place("docs/search.md", "small", "small_100k.json", small_sheet),
    Place("docs/speed.md", "million", "million.json", million_sheet),
    Place("docs/object_storage.md", "bucket", "bucket.json", bucket_line),
    Place("docs/bulk.md", "manifest", "manifest.json", manifest_line),
    Place("docs/scale.md", "scale check", "scale.json", lambda found: check_sheet(found).markdown()),
    Place("docs/scale.md", "scale plan", "scale.json", lambda found: plan_sheet(found).markdown()),
    Place("docs/scale.md", "network paper", "network.json", lambda found: paper_sheet(found).markdown()),
    Place("docs/scale.md", "network measured", "network.json", lambda found: measured_sheet(found).markdown()),
    Place("docs/speed.md", "growth", "growth.json", lambda found: growth_sheet(found).markdown()),
    Place("docs/serving.md", "hostile", "hostile.json", lambda found: hostile_sheet(found).markdown()),
    Place("docs/serving.md", "load", "serve_load_hostile.json", lambda found: load_sheet(found).markdown()),
    Place("docs/serving.md", "serve", "serve_cpu.json", serve_markdown),
    Place("docs/serving.md", "infinity", "serve_infinity.json", lambda found: infinity_sheet(found).markdown()),
    Place("docs/deploy.md", "replicas answer", "replicas_cpu.json", replicas_answer),
    Place("docs/deploy.md", "replicas", "replicas_cpu.json", lambda found: replicas_sheet(found).markdown()),
    Place("docs/serving.md", "rerank", "rerank_serve.json", serve_markdown),
)


def main() -> None:
    """Render all."""
    for place in PLACES:
        rewrite(ROOT / place.page, place.name, place.render(content(place.source)))
    draw(content("loss_cpu.json"), ROOT / "docs/loss")
    draw_growth(content("growth.json"), ROOT / "docs/growth.png")
    draw_differences(content("hardness_confirmed.json"), CONFIRMED, ROOT / "docs/hardness")
    presets = preset_markdown([get_preset(name) for name in preset_names()])
    rewrite(ROOT / "docs/evaluation.md", "presets", presets)


def content(source: str) -> dict[str, Any]:
    """Of a committed measurement; :data:`EVERY` has all of them by name."""
    if source == EVERY:
        return {file.stem: content(file.name) for file in sorted(RESULTS.glob("*.json"))}
    found: dict[str, Any] = json.loads((RESULTS / source).read_text("utf-8"))
    return found


def rewrite(page: Path, name: str, table: str) -> None:
    """Put a table into its place.

    Raises:
        ValueError: the page has no such place.
    """
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    shown(page, name)
    before, _, rest = page.read_text("utf-8").partition(start)
    page.write_text(f"{before}{start}\n{table.strip()}\n{end}{rest.partition(end)[2]}", "utf-8")


def shown(page: Path, name: str) -> str:
    """What stands there now, line breaks included."""
    _, found, after = page.read_text("utf-8").partition(f"<!-- {name} -->")
    text, end, _ = after.partition(f"<!-- /{name} -->")
    if not found or not end:
        raise ValueError(f"{page}: no place <!-- {name} --> … <!-- /{name} -->")
    return text


if __name__ == "__main__":
    main()
