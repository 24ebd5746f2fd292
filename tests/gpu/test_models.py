"""Models on a GPU: the vectors and gradients of the CPU, whatever is in a batch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from llave import HardnessWeightedLoss, load_model
from llave.encode.encoder import Encoder
from llave.encode.item import Item
from tests.models.tiny_backbones import BACKBONES, build

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
NAMES = [name for name in BACKBONES if name != "paligemma"]  # which takes no texts alone
NEWER = {"embedding_gemma2": "EmbeddingGemma2Config"}
"""What a transformers of 5.17, the least that is admitted, has not yet."""


@pytest.fixture(autouse=True)
def exact_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patch embedding is a convolution, and cuDNN's default for those is TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def items(picture: Callable[[int], Image.Image]) -> list[Item]:
    texts = ["a crab", "the moon over a hill, seen from the sea", "red", "a slice of bread with butter"]
    return [
        *(Item(text=text) for text in texts),
        *(Item(image=picture(number)) for number in range(3)),
        *(Item(text=texts[number], image=picture(number)) for number in range(2)),
    ]


def moved(features: dict[str, Any], device: str) -> dict[str, Any]:
    return {key: value.to(device) if hasattr(value, "to") else value for key, value in features.items()}


@pytest.mark.parametrize("name", NAMES)
def test_vectors_equal_those_of_the_cpu(name: str, tmp_path: Path, picture: Callable[[int], Image.Image]) -> None:
    if name in NEWER and not hasattr(transformers, NEWER[name]):
        pytest.skip(f"transformers {transformers.__version__} has no {NEWER[name]}")
    path = build(name, tmp_path)
    expected_ND = np.stack([np.asarray(v) for v in Encoder(load_model(path, device="cpu"))(items(picture))])
    on_gpu = load_model(path, device="cuda")
    found_ND = np.stack([np.asarray(v) for v in Encoder(on_gpu)(items(picture))])
    alone_ND = np.stack([np.asarray(Encoder(on_gpu)([item])[0]) for item in items(picture)])
    assert np.abs(found_ND - expected_ND).max() < 1e-4
    assert np.abs(alone_ND - expected_ND).max() < 1e-4
    halves = Encoder(load_model(path, device="cuda", dtype="bfloat16"))(items(picture))
    assert (np.stack([np.asarray(v) for v in halves]) * expected_ND).sum(1).min() > 0.97


@pytest.mark.parametrize("name", ["llava_onevision", "qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize("options", [{}, {"mini_batch_size": 2}, {"mini_batch_num_tokens": 60, "keep_graphs": 1}])
def test_a_step_has_the_gradients_of_the_cpu(
    name: str, options: dict[str, Any], tmp_path: Path, picture: Callable[[int], Image.Image]
) -> None:
    path = build(name, tmp_path)
    columns: list[list[Any]] = [
        [{"image": picture(number), "text": "what?"} if number % 2 else f"text {number}" for number in range(5)],
        [picture(number + 5) if number < 2 else f"answer {number}" for number in range(5)],
    ]
    found = []
    for device in ("cpu", "cuda"):
        model = load_model(path, device=device).train()
        loss = HardnessWeightedLoss(model, temperature=0.05, **(options if device == "cuda" else {}))
        features = [
            {
                key: value.to(device) if hasattr(value, "to") else value
                for key, value in model.preprocess(column).items()
            }
            for column in columns
        ]
        loss(features, None).backward()
        found.append(torch.cat([p.grad.flatten().cpu().double() for p in model.parameters() if p.grad is not None]))
    assert float((found[1] - found[0]).norm() / found[0].norm()) < 1e-3


def test_dropout_draws_the_same_masks_in_both_passes(tmp_path: Path) -> None:
    """GradCache embeds every mini-batch twice; the second pass must see what the first saw, on this device too."""
    model = load_model(build("llava_onevision", tmp_path), device="cuda").train()
    for module in model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.3
    columns = [[f"query {number} of some length" for number in range(6)], [f"answer {number}" for number in range(6)]]
    features = [moved(model.preprocess(column), "cuda") for column in columns]
    found = []
    for keep_graphs in (0, 100):  # all graphs kept: no second pass, nothing to draw again
        loss = HardnessWeightedLoss(model, mini_batch_size=2, keep_graphs=keep_graphs, sort_by_length=False)
        model.zero_grad()
        torch.manual_seed(3)
        loss([dict(column) for column in features], None).backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert float((found[1] - found[0]).norm() / found[0].norm()) < 1e-4
