"""The average of the weights: its formula over a run's checkpoints, and that it is what is exported and evaluated."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llave import load_model
from llave.errors import UserError
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.runner import evaluate
from llave.training.config import EMAConfig, EvaluateConfig, LossConfig, TrainConfig
from llave.training.run import train
from tests.shapes import make_folder

DECAY, EVERY, STEPS = 0.15, 2, 6
"""Above the first update's 1/10, below the second's 2/11: both ends of the formula."""


def config(data: Path, output: Path, **changes: Any) -> TrainConfig:
    return TrainConfig(
        data=data,
        output=output,
        loss=LossConfig(temperature=0.05, mini_batch_size=4),
        batch_size=8,
        max_steps=STEPS,
        log_steps=1,
        learning_rate=1e-3,
        save_steps=1,
        keep_checkpoints=STEPS,
        **changes,
    )


def losses(output: Path) -> list[float]:
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.slow
def test_a_run_exports_and_evaluates_its_average(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    plain = train(config(data, tmp_path / "plain"))
    watch = EvaluateConfig(benchmark=str(data), every_steps=STEPS, keep_best=False)
    output = train(config(data, tmp_path / "run", ema=EMAConfig(decay=DECAY, every=EVERY), evaluate=watch))
    assert losses(output) == losses(plain)  # the steps do not know of it
    exported, last = load_file(output / "model.safetensors"), load_file(plain / "model.safetensors")
    name = next(key for key in exported if key.endswith("projector.0.weight"))
    average = load_model("nano", device="cpu")[0].model.projector[0].weight.detach()
    for number, step in enumerate(range(EVERY, STEPS + 1, EVERY)):
        kept = min(DECAY, (1 + number) / (10 + number))
        value = load_file(tmp_path / f"plain/checkpoints/checkpoint-{step}/model.safetensors")[name]
        average = kept * average + (1 - kept) * value
    assert torch.allclose(exported[name], average, atol=1e-6)
    assert not torch.allclose(exported[name], last[name], atol=1e-6)
    frozen = next(key for key in exported if "vision_tower" in key)
    assert torch.equal(exported[frozen], last[frozen])
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    scored = next(record["eval_overall"] for record in records if "eval_overall" in record)
    model = load_model(output, device="cpu")
    assert evaluate(model, get_benchmark(data), progress=False).overall == scored
    assert json.loads((output / "run.json").read_text())["config"]["ema"] == {"decay": DECAY, "every": EVERY}
    assert "moving average over the run: decay 0.15, updated every 2 steps" in (output / "README.md").read_text()


def test_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ema\.decay must be at least 0 and below 1, got 1"):
        EMAConfig(decay=1.0)
    with pytest.raises(UserError, match=r"ema needs the whole model in every process"):
        config(tmp_path, tmp_path / "run", ema=EMAConfig(), sharding="fsdp")
