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
from llave.training.config import AdapterConfig, LossConfig, TrainConfig
from llave.training.run import train
from tests.models.tiny_backbones import BACKBONES, build
from tests.models.tiny_encoders import DUAL
from tests.shapes import make_folder


@pytest.mark.parametrize("name", [*sorted(BACKBONES), *DUAL])
def test_train_and_evaluate(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recomputed = 0
    checkpoint = transformers.modeling_utils.checkpoint

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal recomputed
        recomputed += 1
        return checkpoint(*arguments, **options)

    monkeypatch.setattr(transformers.modeling_utils, "checkpoint", counted)
    data = make_folder(tmp_path / "data")
    source = DUAL[name](tmp_path) if name in DUAL else build(name, tmp_path)
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
    family = load_model(source, device="cpu").family
    frozen = set(family.matching("vision_tower", before))
    assert frozen
    trained = set(family.matching("text_tower", before)) if name in DUAL else set(family.matching("projector", before))
    for key, value in before.items():
        if key in frozen:
            assert torch.equal(value, after[key]), key
    assert any(not torch.equal(before[key], after[key]) for key in trained)
    scores = evaluate(load_model(output, device="cpu"), get_benchmark(str(data)), progress=False)
    assert 0 <= scores.overall <= 1


@pytest.mark.parametrize("name", ["clip", "siglip", "embedding_gemma2", "qwen3_5", "gemma3"])
def test_adapters(name: str, tmp_path: Path) -> None:
    """In the language model, or in both towers of a dual encoder; merged, the model differs nowhere else."""
    source = DUAL[name](tmp_path) if name in DUAL else build(name, tmp_path)
    config = TrainConfig(
        data=make_folder(tmp_path / "data"),
        output=tmp_path / "run",
        model=str(source),
        loss=LossConfig(mini_batch_size=4, temperature=0.05),
        adapter=AdapterConfig(rank=2),
        freeze=[] if name == "clip" else ["vision_tower"],
        batch_size=8,
        max_steps=2,
        learning_rate=1e-2,
    )
    output = train(config)
    models = [load_model(path, device="cpu") for path in (source, output)]
    before, after = (dict(model.named_parameters()) for model in models)
    changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
    seen = set(models[0].family.matching("vision_tower", changed))
    assert changed - seen
    assert bool(seen) == (name == "clip")
    card = (output / "README.md").read_text()
    assert ("mean of the two unit vectors" in card) == (name in DUAL)
