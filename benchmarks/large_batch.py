"""One training step on a large batch of pictures, prepared at once and mini-batch by mini-batch: peak memory and time.

Pictures of 768 x 768 pixels, which LLaVA-OneVision's own preprocessing makes five tiles of 384 x 384, on a language
model and a tower of a few thousand weights: what is measured is what the pictures take, not what the model takes.
Run: python -m benchmarks.large_batch --out benchmarks/results
"""

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.measured_run import run_measured
from benchmarks.provenance import provenance
from benchmarks.shaped_model import Shape, shaped_model
from benchmarks.sheet import Sheet

ROOT = Path(__file__).parent.parent
SIDE = 384
SHAPE = Shape(
    side=SIDE, vision_width=32, vision_hidden=32, vision_layers=1, vision_heads=1,
    text_width=32, text_hidden=32, text_layers=1, text_heads=1, text_key_value_heads=1,
)  # fmt: skip
STEP = """
import json, sys
from pathlib import Path
from llave.training.config import LossConfig, TrainConfig
from llave.training.run import train
given = json.loads(sys.argv[1])
loss = LossConfig(mini_batch_size=given["mini_batch_size"], lazy_media=given["lazy"])
train(TrainConfig(
    data=Path(given["data"]), output=Path(given["output"]), model=given["model"], loss=loss,
    batch_size=given["pairs"], max_steps=given["steps"], log_steps=1, workers=given["workers"],
    verify_pictures=False, resume="never",
))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--mini_batch_size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shaped_model(SHAPE, folder, device=torch.device("cpu"), tiles=2)
        for pairs in args.pairs:
            data = folder / f"data{pairs}"
            write_rows(data, pairs * args.steps)
            for lazy in (False, True):
                given = {
                    "data": str(data), "output": str(folder / "run"), "model": str(folder / "model"), "pairs": pairs,
                    "mini_batch_size": args.mini_batch_size, "lazy": lazy, "workers": args.workers, "steps": args.steps,
                }  # fmt: skip
                found = run_measured([sys.executable, "-c", STEP, json.dumps(given)], threads=args.threads)
                rows.append({"pairs": pairs, "lazy": lazy, **measured(found, folder / "run" / "metrics.jsonl")})
                sys.stderr.write(f"{rows[-1]}\n")
    vars_ = {key: value for key, value in vars(args).items() if key not in ("out", "pairs", "page")}
    text = json.dumps({**provenance(), "torch": torch.__version__, **vars_, "measurements": rows}, indent=1)
    if args.out is None:
        sys.stdout.write(text + "\n")
    else:
        (args.out / "large_batch_cpu.json").write_text(text + "\n")


def measured(found: Any, metrics: Path) -> dict[str, Any]:
    """``seconds`` are the command's, ``loss`` and ``grad_norm`` the last step's."""
    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    last = [record for record in records if "loss" in record][-1]
    about = dataclasses.asdict(found)
    del about["output"]
    return {**about, "loss": last["loss"], "grad_norm": last["grad_norm"]}


def large_batch_sheet(content: dict[str, Any]) -> Sheet:
    """Peak memory and seconds of each way and number of pictures."""
    names = {False: "the whole batch, once (`loss.lazy_media: false`)", True: "mini-batch by mini-batch"}
    rows = [
        (f"{row['pairs']:,}", names[row["lazy"]], f"{row['peak_bytes'] / 2**30:.2f}", f"{row['cpu_seconds']:.0f}")
        for row in content["measurements"]
    ]
    return Sheet(
        title=f"One step, {content['threads']} threads of {content['machine']}, commit {content['commit'][:7]}:",
        caption="",
        columns=("pictures", "prepared", "peak memory of all processes, GiB", "CPU seconds, with start-up"),
        rows=rows,
        words=frozenset({"prepared"}),
    )


def write_rows(root: Path, number: int) -> None:
    """A picture and a question to an answer of its own; pictures of noise on a colour, as JPEG."""
    (root / "train").mkdir(parents=True)
    (root / "images").mkdir()
    draw = np.random.default_rng(0)
    rows = []
    for row in range(number):
        pixels = draw.integers(0, 60, (2 * SIDE, 2 * SIDE, 3), np.uint8) + draw.integers(0, 190, 3, np.uint8)
        Image.fromarray(pixels.astype(np.uint8)).save(root / "images" / f"{row}.jpg", quality=80)
        rows.append(
            {"qry": "<|image_1|>\nWhat is it?", "qry_image_path": f"{row}.jpg", "pos_text": f"answer {row}",
             "pos_image_path": ""}
        )  # fmt: skip
    (root / "train" / "pictures.json").write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
