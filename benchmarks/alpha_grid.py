"""alpha x temperature x batch size on the sample data: where does hardness weighting help? Run:

    python benchmarks/alpha_grid.py --out runs/grid [--part 0/2]

On a sample of another seed than the quickstart's, so that nothing is chosen on its test queries. One training
seed and half the quickstart's pairs each: differences below about two points are noise. What is done is skipped.
"""

import argparse
import dataclasses
import itertools
import json
import sys
from pathlib import Path

from rich.console import Console

from llave.cli.quickstart import NANO_RECIPE
from llave.data.sample.build import build_sample
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.runner import evaluate
from llave.evaluation.similarity_gap import similarity_gap
from llave.models.load import load_model, use_feature_cache
from llave.terminal import quiet_libraries
from llave.training.run import train

DATA_SEED = 123
ALPHAS = (0.0, 4.0, 9.0)
TEMPERATURES = (0.02, 0.05)
BATCH_SIZES = (64, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/grid"))
    parser.add_argument("--part", default="0/1", help="run every n-th cell from the k-th: k/n")
    arguments = parser.parse_args()
    part, parts = map(int, arguments.part.split("/"))
    quiet_libraries()
    out: Path = arguments.out
    build_sample(out / "data", seed=DATA_SEED)
    cells = list(itertools.product(BATCH_SIZES, TEMPERATURES, ALPHAS))
    for batch_size, temperature, alpha in cells[part::parts]:
        run(out, batch_size, temperature, alpha, part)
    sys.stdout.write(table(out, cells))


def run(out: Path, batch_size: int, temperature: float, alpha: float, part: int) -> None:
    name = f"b{batch_size}-t{temperature:g}-a{alpha:g}"
    result_file = out / f"{name}.json"
    if result_file.exists():
        return
    features = out / f"vision-{part}.safetensors"
    config = dataclasses.replace(
        NANO_RECIPE,
        data=out / "data",
        output=out / "models" / name,
        loss=dataclasses.replace(NANO_RECIPE.loss, alpha=alpha, temperature=temperature),
        batch_size=batch_size,
        epochs=NANO_RECIPE.epochs / 2,
        feature_cache=features,
    )
    train(config, console=Console(stderr=True), title=name)
    model = load_model(config.output)
    cache = use_feature_cache(model, features)
    result = evaluate(model, get_benchmark(out / "data"))
    if cache is not None:
        cache.save()
    gaps = similarity_gap(result)
    ood = [task for name, task in result.tasks.items() if name.endswith("_ood")]
    numbers = {
        **{key: result.groups()[key] for key in ("ind", "ood")},
        "t2i_ood": result.tasks["t2i_ood"].p_at_1,
        "gap_hard": sum(gaps[task.name].gap_hard or 0.0 for task in ood) / len(ood),
    }
    result_file.write_text(json.dumps(numbers) + "\n")


def table(out: Path, cells: list[tuple[int, float, float]]) -> str:
    lines = [
        "| batch | τ | α | P@1 % in distribution | out of distribution | `t2i_ood` | gap to hard negatives (OOD) |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for batch_size, temperature, alpha in cells:
        path = out / f"b{batch_size}-t{temperature:g}-a{alpha:g}.json"
        if path.exists():
            numbers = json.loads(path.read_text())
            scores = " | ".join(f"{100 * numbers[key]:.1f}" for key in ("ind", "ood", "t2i_ood"))
            lines.append(f"| {batch_size} | {temperature:g} | {alpha:g} | {scores} | {numbers['gap_hard']:.3f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
