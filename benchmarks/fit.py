"""``llave fit`` where the answer is known to be hard: a model that has learnt emoji, and a few hundred captioned icons.

    python -m benchmarks.fit --icons runs/icons0 --base runs/nano0 --out runs/fit_bench --seeds 3 --json FILE

The table is a CSV of a picture and a caption (its name and tags), of one artist, drawn by the seed; the command is run
as a user types it, its start and the loading of the model included.
"""

import csv
import json
import random
import subprocess
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from benchmarks.provenance import provenance
from benchmarks.sheet import Sheet
from llave.files import write_json

__all__ = ["fit_sheet", "main", "write_pairs"]

ARTIST = "tabler"


def main() -> None:
    """Write the tables, fit, and keep what was said; goes on from what is in the file."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--icons", type=Path, required=True, help="sample data of icons")
    parser.add_argument("--base", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, nargs="+", default=[600])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, required=True)
    words = parser.parse_args()
    runs = json.loads(words.json.read_text("utf-8"))["runs"] if words.json.is_file() else []
    done = {(sum(run["rows"].values()), run["seed"]) for run in runs}
    for rows in words.rows:
        for seed in range(words.seeds):
            if (rows, seed) in done:
                continue
            table = words.out / f"icons-{rows}-{seed}.csv"
            write_pairs(table, words.icons, rows, seed)
            runs.append(_fitted(table, words.base, words.out / f"model-{rows}-{seed}", seed))
            write_json(words.json, {"base": Path(words.base).name, "runs": runs, **provenance()})


def write_pairs(path: Path, icons: Path, rows: int, seed: int) -> None:
    """A table of pictures of one artist and their captions."""
    lines = (icons / "pictures.jsonl").read_text("utf-8").splitlines()
    found = [row for row in map(json.loads, lines) if row["artist"] == ARTIST]
    random.Random(seed).shuffle(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "photo", "caption"])
        for row in found[:rows]:
            picture = (icons / row["image"]).resolve()
            writer.writerow([row["id"], picture, f"{row['name']}: {row['tags']}" if row["tags"] else row["name"]])


def _fitted(table: Path, base: str, out: Path, seed: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "llave.cli.main", "fit", str(table), "--base", base, "--out", str(out)]
    begin = time.perf_counter()
    run = subprocess.run([*command, "--seed", str(seed), "--json"], stdout=subprocess.PIPE, text=True, check=True)
    seconds = time.perf_counter() - begin
    found = json.loads(run.stdout)
    return {
        "seed": seed,
        "rows": found["data"]["rows"],
        "scores": found["scores"],
        "training": {key: found["training"][key] for key in ("steps", "batch_size", "epochs", "learning_rate", "kept")},
        "estimated_seconds": found["plan"]["seconds"] - found["plan"]["seconds_looking"],
        "training_seconds": found["training"]["seconds"],
        "seconds": seconds,
        **{key: value for key, value in provenance().items() if key != "machine"},
    }


def fit_sheet(found: dict[str, Any]) -> Sheet:
    """A row of each run."""
    commits = ", ".join(dict.fromkeys(run["commit"][:7] for run in found["runs"]))
    return Sheet(
        title=f"Start model `{found['base']}`, learnt from emoji; {found['machine']}; commits {commits}:",
        caption="",
        columns=(
            "rows: train + validation + test",
            "seed",
            "P@1 % before",
            "after",
            "difference (95% interval)",
            "verdict",
            "test queries",
            "training s (said before it)",
            "whole command s",
        ),
        rows=[_cells(run) for run in found["runs"]],
        words=frozenset({"rows: train + validation + test", "verdict"}),
    )


def _cells(run: dict[str, Any]) -> list[str]:
    overall = run["scores"]["overall"]
    low, high = overall["ci95"]
    return [
        " + ".join(f"{number:,}" for number in run["rows"].values()),
        str(run["seed"]),
        f"{100 * overall['a']:.1f}",
        f"{100 * overall['b']:.1f}",
        f"{100 * overall['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})",
        run["scores"]["verdict"],
        f"{overall['queries']:,}",
        f"{run['training_seconds']:.0f} ({run['estimated_seconds']:.0f})",
        f"{run['seconds']:.0f}",
    ]


if __name__ == "__main__":
    main()
