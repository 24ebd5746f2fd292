"""The nano reranker's network: the solved projector, what it makes of what it has not met, and the halves of a pair."""

import pytest
import torch
import torch.nn.functional as F
from transformers import BertConfig

from llave.models.nano_depths import DEPTH_DIM, depth_features, in_scale
from llave.models.nano_pair import RIDGE, NanoPairConfig, NanoPairModel, fit_pictures
from llave.models.nano_vision import EfficientNetLite0

TEXT = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50}


@pytest.fixture(scope="module")
def model() -> NanoPairModel:
    torch.manual_seed(0)
    config = NanoPairConfig(text_config=BertConfig(**TEXT).to_dict(), image_token_id=1, start_token_id=2)
    return NanoPairModel(config).eval()


def test_projections_of_unmet_concepts_are_those_of_a_fit_without_them(model: NanoPairModel) -> None:
    torch.manual_seed(1)
    features = torch.randn(12, DEPTH_DIM)
    texts = F.normalize(torch.randn(12, 16), dim=1)
    concepts = [number // 2 for number in range(12)]
    unmet = fit_pictures(model, features, texts, concepts)
    scaled = in_scale(features, features.mean(0), features.std(0) + 1e-3)
    target = (texts - texts.mean(0)) @ model.text_map
    met = F.normalize(scaled @ model.projector.weight.T, dim=1)
    assert torch.allclose(model.seen(features), met, atol=1e-5)
    for concept in (0, 3):
        others = [row for row, own in enumerate(concepts) if own != concept]
        rows = [row for row, own in enumerate(concepts) if own == concept]
        kernel = scaled[others] @ scaled[others].T + RIDGE * torch.eye(len(others))
        wanted = scaled[rows] @ scaled[others].T @ torch.linalg.solve(kernel, target[others])
        assert torch.allclose(unmet[rows], wanted, atol=1e-4)
    assert torch.allclose(model.seen(unmet), F.normalize(unmet, dim=1), atol=1e-6)


def test_depths_do_not_depend_on_the_batch() -> None:
    torch.manual_seed(0)
    tower = EfficientNetLite0().eval()
    pixels = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        together = depth_features(tower, pixels)
        alone = torch.cat([depth_features(tower, one[None]) for one in pixels])
    assert together.shape == (3, DEPTH_DIM)
    assert torch.allclose(together, alone, atol=1e-4)


def test_a_pair_is_two_halves(model: NanoPairModel) -> None:
    ids = torch.tensor([[2, 9, 3, 2, 1, 3, 0], [2, 9, 8, 3, 2, 7, 3]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 0], [1] * 7])
    with torch.inference_mode():
        both = model(ids, mask, torch.randn(1, 1, DEPTH_DIM, generator=torch.Generator().manual_seed(0))).logits
        second = model(ids[1:], mask[1:]).logits
    assert both.shape == (2, 1)
    assert torch.allclose(both[1], second[0], atol=1e-5)
    with pytest.raises(ValueError, match="two halves"):
        model(torch.tensor([[2, 9, 3]]))
    with pytest.raises(ValueError, match="placeholders"):
        model(ids, mask)
