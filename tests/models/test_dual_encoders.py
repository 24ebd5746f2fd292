"""CLIP, SigLIP and SigLIP 2: alone = mixed, fusion, slices, gradients, a frozen tower, and the saved directory."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave import HardnessWeightedLoss, load_model
from llave.errors import DataError, UserError
from llave.models.model import EmbeddingModel
from llave.models.tower_reuse import vision_tower
from tests.models.test_backbones import picture, tower_passes
from tests.models.tiny_encoders import DUAL


@pytest.fixture(scope="module", params=DUAL)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make: Callable[[Path], Path] = DUAL[request.param]
    return make(tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def model(source: Path) -> EmbeddingModel:
    return load_model(source, device="cpu").eval()


def items() -> dict[str, Any]:
    return {
        "text": "the crab",
        "other": "a cat on a mat and more words than it reads",
        "image": picture(80, 60),
        "fused": {"image": picture(50, 90), "text": "the cat"},
        "multi": {"image": [picture(60, 60), picture(64, 48)], "text": "two"},
        "pictures": {"image": [picture(60, 60), picture(64, 48)]},
        "video": {"video": np.stack([np.asarray(picture(60, 60).rotate(90 * turn)) for turn in range(4)])},
    }


def unit(vector: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vector, dim=-1)


def test_any_mix_equals_single_items(model: EmbeddingModel) -> None:
    inputs = items()
    single = {name: model.encode([item], convert_to_tensor=True)[0] for name, item in inputs.items()}
    for vector in single.values():
        assert vector.norm() == pytest.approx(1, abs=1e-5)
    for mix in (list(inputs), ["text", "image"], ["fused", "text"], ["multi", "video"], ["text", "other"]):
        vectors = model.encode([inputs[name] for name in mix], batch_size=len(mix), convert_to_tensor=True)
        for name, vector in zip(mix, vectors, strict=True):
            assert torch.allclose(vector, single[name], atol=1e-6), (mix, name)


def test_fusion_is_the_mean_of_unit_vectors(model: EmbeddingModel) -> None:
    inputs = items()
    text, one, two, image = model.encode(
        ["two", picture(60, 60), picture(64, 48), inputs["image"]], convert_to_tensor=True
    )
    pictures, multi, video = model.encode(
        [inputs["pictures"], inputs["multi"], {"video": [picture(60, 60), picture(64, 48)]}], convert_to_tensor=True
    )
    seen = unit(one + two)
    assert torch.allclose(pictures, seen, atol=1e-6)
    assert torch.allclose(video, seen, atol=1e-6)
    assert torch.allclose(multi, unit(text + seen), atol=1e-6)
    fused = model.encode({"image": inputs["image"], "text": "two"}, convert_to_tensor=True)
    assert torch.allclose(fused, unit(text + image), atol=1e-6)
    assert torch.allclose(
        model.encode({"image": inputs["image"], "text": "o"}, prompt="tw", convert_to_tensor=True), fused, atol=1e-6
    )


def test_fusion_turned_off_and_kept(source: Path, tmp_path: Path) -> None:
    model = load_model(source, device="cpu", fusion="none")
    assert model.encode(["a", picture(40, 40)]).shape[0] == 2
    assert not model.supports(("image", "text"))
    with pytest.raises(DataError, match="a text and a picture in one item"):
        model.encode([items()["fused"]])
    model.save(str(tmp_path))
    assert json.loads((tmp_path / "config_sentence_transformers.json").read_text())["fusion"] == "none"
    with pytest.raises(DataError, match="a text and a picture in one item"):
        load_model(tmp_path, device="cpu").encode([items()["fused"]])
    assert load_model(tmp_path, device="cpu", fusion="mean").encode([items()["fused"]]).shape[0] == 1


def test_pooling_is_not_asked_of_towers(source: Path) -> None:
    with pytest.raises(UserError, match="its towers give vectors themselves"):
        load_model(source, device="cpu", pooling="mean")


def test_saved_and_opened_by_sentence_transformers_alone(model: EmbeddingModel, tmp_path: Path) -> None:
    """Its padding is saved too: without it a SigLIP's text has another vector beside a longer one."""
    model.save(str(tmp_path))
    theirs = SentenceTransformer(str(tmp_path), device="cpu")
    for batch in (["the crab", "a cat on a mat"], [picture(80, 60), picture(30, 90)]):
        assert np.allclose(theirs.encode(batch), model.encode(batch), atol=1e-6)
    inputs = list(items().values())
    assert np.allclose(load_model(tmp_path, device="cpu").encode(inputs), model.encode(inputs), atol=1e-6)


def test_long_texts_are_cut_and_counted(model: EmbeddingModel) -> None:
    long = "the cat " * 90
    assert model.cut_tokens(["a", long, {"image": picture(40, 40), "text": long}])[0] == 0
    assert min(model.cut_tokens([long, {"image": picture(40, 40), "text": long}])) > 0
    same = model.encode([long, "the cat " * 100])
    assert np.allclose(same[0], same[1], atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"mini_batch_size": 1, "keep_graphs": 0},
        {"mini_batch_size": 4, "sort_by_length": False},
        {"mini_batch_size": 3, "keep_graphs": 2},
    ],
    ids=str,
)
def test_gradients_of_mixed_rows_do_not_depend_on_mini_batches(model: EmbeddingModel, options: dict[str, Any]) -> None:
    inputs = items()
    queries = [inputs[name] for name in ("text", "image", "fused", "multi", "video", "other")]
    targets = [picture(200, 60), "b", inputs["pictures"], "c", "d", inputs["fused"]]

    def gradients(loss: HardnessWeightedLoss) -> tuple[float, torch.Tensor]:
        model.zero_grad()
        value = loss([model.preprocess(queries), model.preprocess(targets)])
        value.backward()
        return value.item(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    expected, whole = gradients(HardnessWeightedLoss(model, temperature=0.1))
    value, found = gradients(HardnessWeightedLoss(model, temperature=0.1, **options))
    assert value == pytest.approx(expected, rel=1e-5)
    assert found.isfinite().all()
    assert torch.allclose(found, whole, atol=1e-5 * float(whole.abs().max()))


def test_a_locked_tower_runs_once_per_step(model: EmbeddingModel) -> None:
    tower = vision_tower(model[0].model)
    assert tower is not None
    tower.requires_grad_(False)
    inputs = items()
    queries, targets = [inputs["image"], inputs["fused"], "a", inputs["multi"]], ["b", "c", picture(60, 60), "d"]
    try:
        twice, expected = tower_passes(model, queries, targets, reuse=False)
        once, found = tower_passes(model, queries, targets, reuse=True)
    finally:
        tower.requires_grad_(True)
    assert once * 2 == twice
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_transparent_picture_and_a_path(model: EmbeddingModel, tmp_path: Path) -> None:
    Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(tmp_path / "a.png")
    by_path, opened = model.encode([str(tmp_path / "a.png"), Image.open(tmp_path / "a.png")])
    assert np.allclose(by_path, opened, atol=1e-6)
