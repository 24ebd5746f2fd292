"""A small benchmark on disk with texts, pictures and both; one picture is corrupt."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from llave.data.mmeb import MMEBFolder, RowItem
from llave.encode.table import ItemTable
from llave.evaluation.benchmarks.task import Split
from llave.evaluation.metrics import Ties, relevant_ranks
from llave.evaluation.result import EvalResult, ScoredRow, TaskResult

WORDS = ("cat", "dog", "tree", "house", "boat", "train", "apple", "moon")


@pytest.fixture(scope="module")
def benchmark_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three data sets: text to text, picture to text, and picture with text to picture (one of them corrupt)."""
    root = tmp_path_factory.mktemp("benchmark")
    (root / "images").mkdir()
    (root / "eval").mkdir()
    for number, word in enumerate(WORDS):
        pixels = np.random.default_rng(number).integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 48 + 4 * number)).save(root / "images" / f"{word}.png")
    (root / "images" / "corrupt.png").write_bytes((root / "images" / "cat.png").read_bytes()[:60])
    texts, to_text, to_image = [], [], []
    for word in WORDS:
        others = [other for other in WORDS if other != word]
        script = "<script>alert('x')</script> " if word == "cat" else ""
        texts.append(_row(f"{script}find the {word}", "", [f"a picture of a {w}" for w in (word, *others)], []))
        to_text.append(_row("<|image_1|>\nName it.\n", f"{word}.png", [word, *others], []))
        images = [f"{w}.png" for w in (word, *others)]
        if word == "moon":
            images[3] = "corrupt.png"
        to_image.append(_row(f"<|image_1|>\nlike this {word}", f"{word}.png", [""] * len(images), images))
    (root / "eval" / "texts.json").write_text(json.dumps(texts))
    (root / "eval" / "names_ood.jsonl").write_text("\n".join(map(json.dumps, to_text)))
    (root / "eval" / "alike.json").write_text(json.dumps(to_image))
    about = {"texts": {"meta": "retrieval", "split": "ind"}, "names_ood": {"meta": "classification", "split": "ood"}}
    (root / "benchmark.json").write_text(json.dumps({"name": "small", "tasks": about}))
    return root


def _row(text: str, image: str, targets: list[str], images: list[str]) -> dict[str, Any]:
    return {
        "qry_text": text,
        "qry_img_path": image,
        "tgt_text": targets,
        "tgt_img_path": images or [""] * len(targets),
    }


@pytest.fixture
def make_result(tmp_path: Path) -> Callable[..., EvalResult]:
    """An evaluation with given scores per data set: ``{NAME: (meta, split, [[scores], …])}``."""
    (tmp_path / "eval").mkdir()
    folder = MMEBFolder(tmp_path)

    def make(tasks: dict[str, tuple[str, Split, list[list[float]]]], ties: Ties = "strict") -> EvalResult:
        table = ItemTable()
        results = {}
        for name, (meta, split, matrix) in tasks.items():
            rows = []
            for index, scores in enumerate(matrix):
                numbers = [table.add(folder, RowItem(f"{name} candidate {i}")) for i in range(len(scores))]
                query = table.add(folder, RowItem(f"{name} query {index}"))
                values = np.array(scores, dtype=np.float32)
                gains = np.ones(1)
                ranks = relevant_ranks(values, gains, ties)
                rows.append(ScoredRow(index, query, np.array(numbers, dtype=np.int32), values, ranks, gains))
            results[name] = TaskResult(name=name, meta_task=meta, split=split, rows=rows)
        return EvalResult(benchmark="made", ties=ties, tasks=results, items=table)

    return make
