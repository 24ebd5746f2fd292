"""`llave train --task late`: tiny ColQwens and the nano model, GradCache, resume, adapters, evaluation, refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import MultiVectorEncoder

from llave import evaluate
from llave.cli.main import main
from llave.errors import UserError
from llave.models.open import load_late
from llave.training.config import AdapterConfig, DataSetConfig, EvaluateConfig, LateConfig, LossConfig, TrainConfig
from llave.training.run import train
from tests.models.tiny_backbones import build
from tests.shapes import make_folder


def config(root: Path, **options: Any) -> TrainConfig:
    loss = LossConfig(mini_batch_size=3, temperature=0.05)
    given = {
        "output": root / "run", "task": "late", "late": LateConfig(dimensions=16), "loss": loss, "batch_size": 8,
        "max_steps": 3, "learning_rate": 1e-3, "log_steps": 1, **options,
    }  # fmt: skip
    return TrainConfig(data=make_folder(root / "data"), **given)


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl"])
def test_a_tiny_colqwen(name: str, tmp_path: Path) -> None:
    """Trained with hard negatives and GradCache, evaluated, opened by sentence-transformers."""
    options = {"datasets": {"t2i": DataSetConfig(hard_negatives=True), "naming": DataSetConfig()}}
    output = train(config(tmp_path, model=str(build(name, tmp_path)), gradient_checkpointing=True, **options))
    metrics = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert all(0 < record["loss"] < 100 for record in metrics if "loss" in record)
    assert all(-1 <= record["hard"] <= 1 for record in metrics if "loss" in record)
    theirs = MultiVectorEncoder(str(output), device="cpu")
    assert theirs.similarity_fn_name == "meanmaxsim"
    result = evaluate(load_late(output, device="cpu"), tmp_path / "data", progress=False)
    assert 0 <= result.overall <= 1
    assert "MultiVectorEncoder" in (output / "README.md").read_text()


@pytest.mark.slow
def test_it_learns(tmp_path: Path) -> None:
    """Positives leave negatives behind, on sixteen shapes; evaluated while it is trained."""
    settings: dict[str, Any] = {
        "model": "nano", "max_steps": -1, "epochs": 12, "projector_learning_rate": 5e-3, "batch_size": 16,
        "loss": LossConfig(temperature=0.05), "evaluate": EvaluateConfig(benchmark=str(tmp_path / "data")),
    }  # fmt: skip
    output = train(config(tmp_path, **settings))
    gaps = [
        record["gap"]
        for line in (output / "metrics.jsonl").read_text().splitlines()
        if "gap" in (record := json.loads(line))
    ]
    assert gaps[-1] > gaps[0] + 0.1
    assert json.loads((output / "run.json").read_text())["best"]["score"] > 4 / 16


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = train(config(tmp_path, model="nano", max_steps=4, save_steps=2))
    part = config(tmp_path, model="nano", max_steps=4, save_steps=2, output=tmp_path / "part", keep_checkpoints=2)
    again = train(part)
    (again / "checkpoints" / "checkpoint-4" / "trainer_state.json").unlink()  # killed while it was written
    record = json.loads((again / "run.json").read_text())
    (again / "run.json").write_text(json.dumps({**record, "status": "running"}))
    train(part)
    ours, theirs = (load_late(path, device="cpu").state_dict() for path in (whole, again))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_adapters_and_the_projection_are_merged(tmp_path: Path) -> None:
    source = build("qwen2_5_vl", tmp_path)
    output = train(config(tmp_path, model=str(source), adapter=AdapterConfig(rank=2)))
    trained = load_late(output, device="cpu")
    again = train(config(tmp_path, model=str(output), late=LateConfig(), output=tmp_path / "more"))
    assert load_late(again, device="cpu").get_embedding_dimension() == 16
    assert not any("lora" in name for name, _ in trained.named_parameters())
    assert (output / "adapter").is_dir()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"loss": LossConfig(matryoshka_dims=[8, 16])}, "loss.matryoshka_dims: not with task: late"),
        ({"loss": LossConfig(reward="ema")}, "loss.reward"),
        ({"loss": LossConfig(impl="triton")}, "loss.impl"),
        ({"sharding": "fsdp"}, "sharding"),
        ({"task": "embed"}, "late is for task: late"),
    ],
)
def test_what_it_has_not_is_refused(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        config(tmp_path, **options)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_folder(tmp_path / "data")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"data: {data}\noutput: {tmp_path / 'run'}\nbatch_size: 8\nmax_steps: 1\n")
    assert main(["train", str(recipe), "--task", "late", "--late.dimensions", "8"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "run")
    assert load_late(tmp_path / "run", device="cpu").get_embedding_dimension() == 8
