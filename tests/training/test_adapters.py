"""Adapters: the base's embeddings at first, the merged model's at last, and a whole run of each kind."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from torch import Tensor

from llave import load_model
from llave.errors import UserError
from llave.losses import cached_step
from llave.models.families import UNKNOWN
from llave.models.tower_reuse import TowerReuse
from llave.training.adapters import add_adapter, save_merged, trained_state
from llave.training.config import AdapterConfig, LossConfig, TrainConfig
from llave.training.run import train
from tests.models.tiny_backbones import BACKBONES, build
from tests.shapes import draw, make_folder

FREEZE = ["vision_tower"]


def embed(model: SentenceTransformer) -> Tensor:
    items = ["find it", draw("red", "circle"), {"image": draw("blue", "bar"), "text": "what"}]
    return model.eval().encode(items, convert_to_tensor=True)


def disturb(model: SentenceTransformer) -> None:
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.02 * torch.randn_like(parameter)


@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_starts_as_the_base_and_merges_exactly(name: str, dora: bool, tmp_path: Path) -> None:
    source = str(build(name, tmp_path))
    model = load_model(source, device="cpu")
    base = embed(model)
    config = AdapterConfig(rank=4, dora=dora)
    add_adapter(model, config, FREEZE)
    assert torch.allclose(embed(model), base, atol=1e-6)
    trained = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    assert all("lora_" in key or "modules_to_save" in key for key in trained)
    assert any("lora_A" in key for key in trained)
    assert {key for key in trained if "lora_" not in key} <= set(UNKNOWN.matching("projector", trained))
    assert not any("lora_" in key for key in UNKNOWN.matching("vision_tower", trained))
    disturb(model)
    after = embed(model)
    assert (after - base).abs().max() > 0.01
    fresh = load_model(source, device="cpu", dtype=torch.float32)
    save_merged(model, trained_state(model), fresh, config, FREEZE, tmp_path / "merged", base=str(source))
    assert torch.equal(embed(model), after)
    open_ = load_model if model.family.bare else SentenceTransformer  # PaliGemma's processor takes pairs alone
    merged = open_(str(tmp_path / "merged"), device="cpu")
    assert torch.allclose(embed(merged), after, atol=1e-5)
    from peft import PeftModel

    apart = load_model(source, device="cpu")
    PeftModel.from_pretrained(apart[0].model, str(tmp_path / "merged" / "adapter"))
    assert torch.allclose(embed(apart), after, atol=1e-5)


def test_four_bits_merge_into_what_was_trained(tmp_path: Path) -> None:
    """Merged into the rounded weights, not the original ones; bitsandbytes' fast CPU path computes in bfloat16."""
    pytest.importorskip("bitsandbytes")
    config = AdapterConfig(rank=4, quantize="nf4")
    model = load_model("nano", device="cpu")
    add_adapter(model, config, FREEZE)
    assert {p.dtype for key, p in model.named_parameters() if key.endswith("query.base_layer.weight")} == {torch.uint8}
    disturb(model)
    after = embed(model)
    save_merged(
        model, trained_state(model), load_model("nano", device="cpu"), config, FREEZE, tmp_path / "merged", base="nano"
    )
    exact = (embed(load_model(tmp_path / "merged", device="cpu")) - after).abs().max()
    plain = load_model("nano", device="cpu")
    add_adapter(plain, AdapterConfig(rank=4), FREEZE)
    disturb(plain)
    into_original = (embed(plain) - after).abs().max()
    assert exact < 0.01
    assert into_original > 3 * exact


@pytest.mark.parametrize(
    "adapter",
    [AdapterConfig(rank=4, dropout=0.1, targets=["q_proj", "v_proj"]), AdapterConfig(rank=4, dora=True)],
    ids=["lora", "dora"],
)
def test_a_run_leaves_a_plain_model(adapter: AdapterConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    towers: list[TowerReuse] = []

    class Counted(TowerReuse):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            towers.append(self)

    monkeypatch.setattr(cached_step, "TowerReuse", Counted)
    source = build("llava_onevision", tmp_path)
    config = TrainConfig(
        data=make_folder(tmp_path / "data"),
        output=tmp_path / "run",
        model=str(source),
        adapter=adapter,
        loss=LossConfig(mini_batch_size=4, temperature=0.05),
        batch_size=8,
        max_steps=3,
        learning_rate=1e-2,
        gradient_checkpointing=True,
        log_steps=1,
    )
    output = train(config)
    assert [tower.calls for tower in towers] == [2, 2, 2]  # 8 pictures, 4 at a time, once
    before, after = load_file(source / "model.safetensors"), load_file(output / "model.safetensors")
    changed = {key for key in after if not torch.equal(after[key], before.get(key, before.get(f"model.{key}")))}
    assert not UNKNOWN.matching("vision_tower", changed)
    assert UNKNOWN.matching("projector", changed)
    assert any("q_proj" in key for key in changed)
    assert any("mlp" in key for key in changed) is not bool(adapter.targets)
    assert (output / "adapter" / "adapter_model.safetensors").is_file()
    assert (output / "checkpoints" / "checkpoint-3" / "trained.safetensors").is_file()
    assert not (output / "checkpoints" / "checkpoint-3" / "model.safetensors").exists()
    assert json.loads((output / "run.json").read_text())["versions"]["peft"]
    assert SentenceTransformer(str(output), device="cpu").encode(["text"]).shape == (1, 32)


def test_four_bits_train(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    output = train(
        TrainConfig(
            data=make_folder(tmp_path / "data"),
            output=tmp_path / "run",
            adapter=AdapterConfig(rank=4, quantize="nf4"),
            batch_size=8,
            max_steps=2,
        )
    )
    assert SentenceTransformer(str(output), device="cpu").encode(["text"]).shape == (1, 384)


def test_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"adapter.targets: no layer is qproj; there are: .*query"):
        add_adapter(load_model("nano", device="cpu"), AdapterConfig(targets=["qproj"]), FREEZE)
    with pytest.raises(UserError, match="rank must be at least 1"):
        AdapterConfig(rank=0)
    with pytest.raises(UserError, match="cannot be sharded"):
        TrainConfig(data=tmp_path, output=tmp_path, adapter=AdapterConfig(quantize="nf4"), sharding="fsdp")
