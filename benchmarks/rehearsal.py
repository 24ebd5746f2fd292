"""The way of a full-size model, with random weights and a synthetic tokenizer of the real vocabulary's size: no hub.

Convert, dry run of the recipe, evaluation, index and server, each a process of its own whose time and peak of memory
are measured. What was measured stays in the file of results; a stage that is in it is not run again.
Run: python -m benchmarks.rehearsal 0.5b --dtype bfloat16 --out benchmarks/results/rehearsal.json
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.measured_run import run_measured
from benchmarks.original_checkpoint import SIZES, write_checkpoint
from benchmarks.provenance import provenance
from benchmarks.sheet import Sheet

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results/rehearsal.json"
WIDTH, HEIGHT = 384, 96
"""Two tiles and 925 tokens: a thin picture is among those that take least time."""
LLAVE = [sys.executable, "-m", "llave.cli.main"]
RECIPES = {
    ("0.5b", "float32"): ("llave_0_5b.yaml", ["--precision", "fp32"]),
    ("0.5b", "bfloat16"): ("llave_0_5b.yaml", []),
    ("2b", "bfloat16"): ("llave_2b_lora.yaml", []),
}
"""What the dry run trains. Of the 2B adapters alone: AdamW's state of all its weights does not fit this machine."""
STAGES = {
    "convert": "`llave convert`",
    "train": "`llave train --dry_run`",
    "eval": "`llave eval`",
    "index": "`llave index`",
    "serve": "`llave serve`",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", choices=sorted(SIZES), nargs="?")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument(
        "--work", type=Path, help="folder for weights that stays; default: a temporary one, deleted at the end"
    )
    args = parser.parse_args()
    if (args.size, args.dtype) not in RECIPES:
        parser.error(f"one of {', '.join(f'{size} {dtype}' for size, dtype in RECIPES)}")
    work: Path = args.work or Path(tempfile.mkdtemp(prefix="llave-rehearsal-"))
    rehearse(work, args.size, args.dtype, args.threads, args.out, args.stages)
    if args.work is None:
        shutil.rmtree(work)


def rehearse(work: Path, size: str, dtype: str, threads: int, out: Path, stages: Sequence[str] = tuple(STAGES)) -> None:
    """Measure every one of these stages that ``out`` does not have yet, and write it there."""
    content = json.loads(out.read_text()) if out.is_file() else {"measurements": []}
    done = {(row["model"], row["dtype"], row["stage"]) for row in content["measurements"]}
    if all((size, dtype, stage) in done for stage in stages):
        return
    model = work / "model"
    if not (work / "original").is_dir():
        write_checkpoint(work / "original", SIZES[size])
        write_rows(work / "data")
    for stage, command in commands(work, size, dtype).items():
        if stage == "convert" and model.is_dir():  # of an earlier call, maybe for another type: the same either way
            continue
        needed = stage == "convert"
        if ((size, dtype, stage) in done or stage not in stages) and not needed:
            continue
        found = run_measured(command, threads=threads, cwd=ROOT)
        sys.stderr.write(
            f"{found.output}\n{size} {dtype} {stage}: {found.seconds:.0f} s, {found.peak_bytes / 2**30:.1f} GiB\n"
        )
        if (size, dtype, stage) in done:
            continue
        row = {"model": size, "dtype": dtype, "stage": stage, "threads": threads, "seconds": found.seconds}
        row |= {"cpu_seconds": found.cpu_seconds, "peak_bytes": found.peak_bytes, **provenance()}
        content["measurements"].append(row)
        out.write_text(json.dumps(content, indent=1) + "\n")


def commands(work: Path, size: str, dtype: str) -> dict[str, list[str]]:
    """Of every stage, in their order."""
    model, data, index = str(work / "model"), str(work / "data"), str(work / f"{dtype}.index")
    recipe, more = RECIPES[size, dtype]
    with_model = ["--dtype", dtype, "--device", "cpu"]
    return {
        "convert": [*LLAVE, "convert", str(work / "original"), model],
        "train": [
            *LLAVE, "train", recipe, "--model", model, "--data", data,
            "--datasets", "{rehearsal: {}}", "--output", str(work / "run"), "--batch_size", "2", "--dry_run", "true",
            *more,
        ],
        "eval": [*LLAVE, "eval", model, "--benchmark", data, "--out", str(work / f"eval-{dtype}"), *with_model],
        "index": [*LLAVE, "index", model, str(work / "data" / "images"), "--index", index, *with_model],
        "serve": [
            sys.executable, "-m", "benchmarks.rehearsal_client", model, index, dtype,
            str(work / "data" / "images" / "0.png"),
        ],
    }  # fmt: skip


def write_rows(root: Path) -> None:
    """Few rows in MMEB's format: of every two to train on one has a picture, and so has the one query."""
    draw = np.random.default_rng(0)
    for folder in ("images", "train", "eval"):
        (root / folder).mkdir(parents=True)
    for number in range(2):
        pixels = draw.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{number}.png")
    texts = [f"what a caption of thing {number} may say of it" for number in range(4)]
    train = [
        {"qry": f"<|image_1|>\nRepresent the given image. {number}" if number % 2 else f"Find thing {number}",
         "qry_image_path": f"{number // 2}.png" if number % 2 else "", "pos_text": text, "pos_image_path": ""}
        for number, text in enumerate(texts)
    ]  # fmt: skip
    queries = [
        {"qry_text": "<|image_1|>\nRepresent the given image.", "qry_img_path": f"{number}.png", "tgt_text": texts,
         "tgt_img_path": [""] * len(texts)}
        for number in range(1)
    ]  # fmt: skip
    (root / "train" / "rehearsal.json").write_text(json.dumps(train))
    (root / "eval" / "rehearsal.json").write_text(json.dumps(queries))


def rehearsal_sheet(content: dict[str, Any]) -> Sheet:
    """GiB and CPU seconds of every stage, a column for each model and type."""
    rows = content["measurements"]
    converted = {row["model"]: row for row in rows if row["stage"] == "convert"}
    kinds = list(dict.fromkeys((row["model"], row["dtype"]) for row in rows))
    cells = {(row["model"], row["dtype"], row["stage"]): row for row in rows}

    def cell(key: tuple[str, str, str]) -> str:
        row = converted.get(key[0]) if key[2] == "convert" else cells.get(key)  # whatever the type they are used in
        return "not run" if row is None else f"{row['peak_bytes'] / 2**30:.1f} GiB, {row['cpu_seconds']:.0f} s"

    commits = ", ".join(dict.fromkeys(row["commit"][:7] for row in rows))
    machines = ", ".join(dict.fromkeys(row["machine"] for row in rows))
    threads = ", ".join(dict.fromkeys(str(row["threads"]) for row in rows))
    return Sheet(
        title=f"Peak memory and CPU seconds of each stage; {threads} threads of {machines}; commit {commits}:",
        caption="",
        columns=("stage", *(f"{model.upper()}, {dtype}" for model, dtype in kinds)),
        rows=[(shown, *(cell((*kind, stage)) for kind in kinds)) for stage, shown in STAGES.items()],
        words=frozenset({"stage"}),
    )


if __name__ == "__main__":
    main()
