"""``llave analyze MODEL DATA``: similarity gap, histograms and the hardest negatives, as HTML."""

import sys
from dataclasses import dataclass
from pathlib import Path

from llave.cli.parsing import parse

__all__ = ["AnalyzeConfig", "run"]


@dataclass(frozen=True, kw_only=True)
class AnalyzeConfig:
    """An analysis of how a model scores positives, hard and easy negatives.

    Args:
        model: a model directory, a hub id, or "nano".
        data: a folder in MMEB's format.
        out: directory of report.html, gap.json and the plots; null is MODEL/analysis (or analysis).
        compare: a second model, shown beside the first as its baseline.
        gallery: hardest negatives shown per data set.
        batch_size: items per forward pass.
        limit: only the first rows of each data set; null is all.
        device: e.g. cpu or cuda; null is the best there is.
    """

    model: str
    data: Path
    out: Path | None = None
    compare: str | None = None
    gallery: int = 12
    batch_size: int = 64
    limit: int | None = None
    device: str | None = None


def run(argv: list[str]) -> int:
    """Write the report; prints its path."""
    config = parse(
        AnalyzeConfig,
        argv,
        command="analyze",
        description="Similarity gap and hardest negatives as one HTML page. "
        "Example: llave analyze runs/quickstart/models/hardness data/sample",
        positional=("model", "data"),
    )
    from llave.evaluation.aggregate import ModelRun
    from llave.evaluation.benchmarks import get_benchmark
    from llave.evaluation.runner import evaluate
    from llave.files import write_json
    from llave.models.nano_features import use_feature_cache
    from llave.models.open import load_model
    from llave.report.gap import write_gap_report, write_plots
    from llave.terminal import quiet_libraries

    quiet_libraries()
    benchmark = get_benchmark(str(config.data))
    runs = {}
    for name in [config.compare, config.model] if config.compare else [config.model]:
        model = load_model(name, device=config.device)
        use_feature_cache(model)
        result = evaluate(model, benchmark, batch_size=config.batch_size, limit=config.limit).complete()
        runs[Path(name).name] = ModelRun(results=[result])
    own = Path(config.model)
    out = config.out or (own / "analysis" if own.is_dir() else Path("analysis"))
    results = write_gap_report(out / "report.html", runs, per_task=config.gallery)
    write_plots(out, runs)
    write_json(out / "gap.json", results)
    sys.stdout.write(f"{out / 'report.html'}\n")
    return 0
