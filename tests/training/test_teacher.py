"""A run whose teacher leaves out false negatives."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.numpy import load_file

from llave import load_model
from llave.data.cache import cache_directory
from llave.data.clusters import require_partitioner
from llave.errors import UserError
from llave.training.clusters import run_clusters
from llave.training.config import ClusterConfig, DataSetConfig, DistillConfig, LossConfig, TrainConfig
from llave.training.prepare import prepare
from llave.training.run import train
from llave.training.tables import open_tables
from llave.training.teacher import teacher_vectors
from tests.gloo import in_processes
from tests.shapes import make_folder


def config(data: Path, output: Path, **loss: Any) -> TrainConfig:
    datasets = {"t2i": DataSetConfig(hard_negatives=True, mask_own_targets=False), "naming": DataSetConfig()}
    return TrainConfig(
        data=data,
        output=output,
        loss=LossConfig(**loss),
        datasets=datasets,
        batch_size=8,
        max_steps=3,
        log_steps=1,
    )


@pytest.mark.slow
def test_a_run_leaves_out_what_its_teacher_takes_for_false(tmp_path: Path) -> None:
    """Its vectors are the teacher's, of every column; a second run encodes nothing."""
    data = make_folder(tmp_path / "data")
    load_model("nano", device="cpu").save_pretrained(str(tmp_path / "teacher"))
    shares = {}
    for margin in (0.5, -0.5):
        distill = DistillConfig() if margin > 0 else None
        teacher_of = {"teacher": str(tmp_path / "teacher"), "teacher_margin": margin, "distill": distill}
        recipe = config(data, tmp_path / str(margin), **teacher_of)
        output = train(recipe)
        lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        shares[margin] = [line["left_out"] for line in lines if "loss" in line]
    assert min(shares[0.5]) > 0.5
    assert max(shares[-0.5]) < 0.5
    kept = {path: path.stat().st_mtime_ns for path in (cache_directory() / "embeddings").rglob("*.safetensors")}
    tables = {name: table for name, (_, table) in open_tables(data, recipe.datasets).items()}
    vectors = teacher_vectors(str(tmp_path / "teacher"), recipe, tables, recipe.datasets, device="cpu")
    assert kept == {path: path.stat().st_mtime_ns for path in (cache_directory() / "embeddings").rglob("*.safetensors")}
    teacher = load_model(tmp_path / "teacher", device="cpu")
    row = tables["t2i"][3]
    query_id, positive_id, negative_id = tables["t2i"].row_ids(3)
    found = vectors.scores(torch.tensor([query_id, query_id ^ (1 << 61)]), torch.tensor([positive_id, negative_id]))
    pictures = [
        {"text": "Represent the given image.", "image": str(tables["t2i"].image(item))}
        for item in (row.positive, row.negative)
    ]
    expected = teacher.similarity(teacher.encode([row.query.text]), teacher.encode(pictures))
    assert torch.isnan(found[0]).all()  # this data set takes no target for a query itself, and its labels say so
    assert torch.allclose(found[1], expected[0], atol=1e-4)


def test_a_teacher_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    with pytest.raises(UserError, match=r"teacher: \./none: no such directory"):
        train(config(data, tmp_path / "run", teacher="./none"))
    with pytest.raises(UserError, match=r"loss\.teacher_margin is for loss\.teacher"):
        config(data, tmp_path / "run", teacher_margin=0.1)
    with pytest.raises(UserError, match=r"loss\.distill is for loss\.teacher"):
        config(data, tmp_path / "run", distill=DistillConfig())
    with pytest.raises(UserError, match=r"loss\.teacher is for name: hardness"):
        config(data, tmp_path / "run", teacher="nano", name="sigmoid")


@pytest.mark.slow
def test_batches_of_clusters_are_kept_for_a_run_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_folder(tmp_path / "data")
    load_model("nano", device="cpu").save_pretrained(str(tmp_path / "teacher"))
    clusters = ClusterConfig(teacher=str(tmp_path / "teacher"), size=4, skip=0, neighbours=4)
    recipe = replace(config(data, tmp_path / "run"), clusters=clusters)
    output = train(recipe)
    orders = load_file(output / "clusters.safetensors")
    tables = {name: table for name, (_, table) in open_tables(data, recipe.datasets).items()}
    assert {name: sorted(order.tolist()) for name, order in orders.items()} == {
        name: list(range(len(table))) for name, table in tables.items()
    }
    longer = replace(recipe, output=tmp_path / "longer", max_steps=5)
    shutil.copytree(output, longer.output)
    record = json.loads((longer.output / "run.json").read_text())
    record["config"]["max_steps"], record["status"] = 5, "running"
    (longer.output / "run.json").write_text(json.dumps(record))
    monkeypatch.setattr("llave.training.clusters.teacher_vectors", None)  # it is not asked again
    trainer = prepare(longer, Console(quiet=True), "again").trainer
    assert {name: order.tolist() for name, order in orders.items()} == {
        name: order.tolist() for name, order in trainer.sampler.clusters.items()
    }


def _clusters(rank: int, order: list[int]) -> list[int]:
    """What this process gets where only the first one may ask the teacher."""
    recipe = TrainConfig(data=Path("none"), output=Path("none"), clusters=ClusterConfig(teacher="none"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llave.training.clusters._find", (lambda *_: {"a": np.array(order)}) if rank == 0 else None)
        found: list[int] = run_clusters(recipe, {}, {})["a"].tolist()
        return found


@pytest.mark.slow
def test_the_first_process_tells_the_others_its_clusters() -> None:
    assert in_processes(_clusters, [2, 0, 1]) == [[2, 0, 1], [2, 0, 1]]


def test_what_clusters_do_not_go_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_folder(tmp_path / "data")
    recipe = config(data, tmp_path / "run")
    clusters = ClusterConfig(teacher="./none", size=3)
    with pytest.raises(UserError, match="clusters is for batches: one_task"):
        replace(recipe, clusters=clusters, batches="mixed")
    with pytest.raises(UserError, match=r"clusters\.size must be at least 2, got 1"):
        ClusterConfig(teacher="nano", size=1)
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(UserError, match=r"clusters needs pymetis: pip install 'llave\[clusters\]'"):
            require_partitioner()
    with pytest.raises(UserError, match=r"clusters\.size 3 does not divide the 8 pairs of a global batch"):
        train(replace(recipe, clusters=clusters))
