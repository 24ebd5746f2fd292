"""What works with which family: every cell of the table in docs/models.md is tried here, and the table must say so."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from llave import HardnessWeightedLoss, load_model
from llave.models.adopt import adopt
from llave.models.model import EmbeddingModel
from llave.models.tower_reuse import reusable_tower, vision_tower
from llave.training.adapters import add_adapter
from llave.training.config import AdapterConfig
from tests.models.test_backbones import apart, items
from tests.models.tiny_backbones import BACKBONES, build
from tests.models.tiny_encoders import DUAL, bert

DOCS = Path(__file__).parents[2] / "docs" / "models.md"
COLUMNS = ["directory = hub id", "text", "picture", "fused", "video", "audio", "mixed batch", "train", "LoRA"]
HEAD = " | ".join(["| family", *COLUMNS, "vision reuse", "convert |"])
FAMILIES = [*sorted(BACKBONES), *sorted(DUAL), "bert"]


def opened(source: Path) -> EmbeddingModel:
    return load_model(source, device="cpu").eval()


def by_hub_id(source: Path, model: EmbeddingModel, place: Path) -> bool:
    """From the cache that `hf download` fills, without a network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(place))
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        repository = place / "models--Org--tiny"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("0" * 40)
        shutil.copytree(source, repository / "snapshots" / ("0" * 40))
        return np.allclose(load_model("Org/tiny", device="cpu").encode("a crab"), model.encode("a crab"), atol=1e-6)


def one(model: EmbeddingModel, kind: str) -> bool:
    inputs = items(model)
    if kind not in inputs or (kind in ("image", "fused") and not model.supports("image")):
        return False
    return bool(model.encode([inputs[kind]], convert_to_tensor=True).norm() > 0.99)


def mixed(model: EmbeddingModel) -> bool:
    if not model.supports("image"):
        return False
    inputs = items(model)
    names = [name for name in inputs if name != "video" or not apart(model)]
    together = model.encode([inputs[name] for name in names], batch_size=len(names))
    return np.allclose(together, np.concatenate([model.encode([inputs[name]]) for name in names]), atol=1e-5)


def step(model: EmbeddingModel) -> bool:
    """Gradients for all that takes part, by GradCache."""
    queries = items(model)["fused"] if model.supports("image") else "a crab"
    loss = HardnessWeightedLoss(model, temperature=0.1, mini_batch_size=1)
    loss([model.preprocess([queries, "b"]), model.preprocess(["c", "d"])]).backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return bool(gradients) and all(bool(gradient.isfinite().all()) for gradient in gradients)


def adapted(source: Path) -> bool:
    model = opened(source)
    add_adapter(model, AdapterConfig(rank=2), ["vision_tower"])
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return any("lora_" in name for name in trained) and step(model)


def reused(source: Path) -> bool:
    model = opened(source)
    tower = vision_tower(model[0].model)
    if tower is None:
        return False
    tower.requires_grad_(False)
    return reusable_tower(model[0].model) is tower


def converted(source: Path, model: EmbeddingModel, target: Path) -> bool:
    """What is written opens in sentence-transformers alone, to the same vectors."""
    adopt(source, target)
    kinds = ["fused"] if model.family.bare else ["text", "image"] if model.supports("image") else ["text"]
    inputs = [items(model)[kind] for kind in kinds]
    theirs = SentenceTransformer(str(target), device="cpu")
    return all(np.allclose(theirs.encode([entry]), model.encode([entry]), atol=1e-6) for entry in inputs)


def row(name: str, place: Path) -> str:
    source = DUAL[name](place) if name in DUAL else bert(place) if name == "bert" else build(name, place)
    model = opened(source)
    cells: list[Any] = [by_hub_id(source, model, place / "hub")]
    cells += [one(model, kind) for kind in ("text", "image", "fused", "video", "audio")]
    tried: list[Callable[[], bool]] = [
        lambda: mixed(model),
        lambda: step(opened(source)),
        lambda: adapted(source),
        lambda: reused(source),
        lambda: converted(source, model, place / "converted"),
    ]
    cells += [attempt() for attempt in tried]
    return " | ".join([f"| `{name}`", *("✓" if cell else "–" for cell in cells)]) + " |"


@pytest.mark.parametrize("name", FAMILIES)
def test_the_table_says_what_works(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    expected = row(name, tmp_path)
    lines = DOCS.read_text("utf-8").splitlines()
    table = lines[lines.index(HEAD) + 2 :]
    assert expected in table[: len(FAMILIES)]
