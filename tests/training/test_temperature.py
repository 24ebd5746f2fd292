"""A run that learns its temperatures."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from safetensors.torch import load_file

from llave.training.config import LossConfig, TrainConfig
from llave.training.prepare import prepare
from llave.training.run import train
from tests.shapes import make_folder


def config(data: Path, output: Path, **loss: Any) -> TrainConfig:
    return TrainConfig(
        data=data,
        output=output,
        loss=LossConfig(temperature=0.05, temperature_learning_rate=0.05, **loss),
        batch_size=4,
        max_steps=6,
        log_steps=1,
        weight_decay=0.5,
        warmup=0.0,
    )


def test_a_run_learns_one_for_each_data_set(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    output = train(config(data, tmp_path / "run", learn_temperature="per_dataset", mini_batch_size=2))
    record = json.loads((output / "run.json").read_text())
    learned = record["temperatures"]
    assert set(learned) == set(record["rows"])
    assert len({round(value, 5) for value in learned.values()}) == len(learned)
    assert all(0.01 <= value <= 1 and abs(value - 0.05) > 1e-4 for name, value in learned.items())
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    logged = [line for line in lines if "loss" in line]
    assert {name: logged[-1][f"temperature_{name}"] for name in learned} == pytest.approx(learned, rel=0.05)
    card = (output / "README.md").read_text()
    assert all(f"{value:.4f} for {name}" in card for name, value in learned.items())
    assert not any("temperature" in name for name in load_file(output / "model.safetensors"))


def test_it_has_a_rate_of_its_own_and_no_decay(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    trainer = prepare(config(data, tmp_path / "run", learn_temperature="one"), Console(quiet=True), "train").trainer
    assert trainer.temperature is not None
    groups = trainer.create_optimizer().param_groups
    (group,) = [one for one in groups if any(value is trainer.temperature.log_K for value in one["params"])]
    assert (group["lr"], group["weight_decay"], len(group["params"])) == (0.05, 0.0, 1)
    assert any(one["weight_decay"] == 0.5 and one["params"] for one in groups)
