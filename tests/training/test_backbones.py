"""`llave train` on raw directories of the real architectures: mixed rows, frozen tower, GradCache, checkpointing."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from llave import load_model
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.runner import evaluate
from llave.models.parts import matching
from llave.training.config import LossConfig, TrainConfig
from llave.training.run import train
from tests.models.tiny_backbones import BACKBONES, build
from tests.shapes import make_folder


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_train_and_evaluate(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recomputed = 0
    checkpoint = transformers.modeling_utils.checkpoint

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal recomputed
        recomputed += 1
        return checkpoint(*arguments, **options)

    monkeypatch.setattr(transformers.modeling_utils, "checkpoint", counted)
    data = make_folder(tmp_path / "data")
    source = build(name, tmp_path)
    config = TrainConfig(
        data=data,
        output=tmp_path / "run",
        model=str(source),
        loss=LossConfig(mini_batch_size=3, temperature=0.05),
        batch_size=8,
        max_steps=3,
        learning_rate=1e-3,
        gradient_checkpointing=True,
        log_steps=1,
    )
    output = train(config)
    assert recomputed > 0
    metrics = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert all(0 < record["loss"] < 100 for record in metrics if "loss" in record)
    before, after = (dict(load_model(path, device="cpu").named_parameters()) for path in (source, output))
    frozen = set(matching("vision_tower", before))
    projector = set(matching("projector", before))
    assert frozen
    assert projector
    for key, value in before.items():
        if key in frozen:
            assert torch.equal(value, after[key]), key
    assert any(not torch.equal(before[key], after[key]) for key in projector)
    scores = evaluate(load_model(output, device="cpu"), get_benchmark(str(data)), progress=False)
    assert 0 <= scores.overall <= 1
