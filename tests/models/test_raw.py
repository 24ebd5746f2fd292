"""Texts without a template: each family's own placeholder, alone as together, positions in one dimension."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from llave.encode.forward import Forward
from llave.errors import UserError
from llave.models.model import EmbeddingModel
from llave.models.raw import raw_features, require_raw

NOISE = np.random.default_rng(0).integers(0, 255, (4, 60, 64, 3), np.uint8)


def test_alone_as_together(any_model: EmbeddingModel) -> None:
    picture = Image.fromarray(NOISE[0])
    batches = [
        ["a  text\n", {"text": "a place <|image_1|> and no picture"}],
        [
            {"image": picture, "text": "<|image_1|>  two"},
            {"image": picture.resize((90, 40)), "text": "<|image_1|>\nx y z"},
        ],
    ]
    forward = Forward(any_model, raw=True)
    moving = {"video": NOISE, "text": "<|video_1|> moves"}
    if getattr(any_model[0].processor, "video_token", None):
        batches.append([moving])
    else:
        assert "Processor has no token for a video's place" in str(forward([moving])[0])
    vectors = []
    for batch in batches:
        together = forward(batch)
        for entry, vector in zip(batch, together, strict=True):
            (alone,) = forward([entry])
            assert isinstance(vector, np.ndarray), vector
            np.testing.assert_allclose(vector, alone, atol=1e-5)
            vectors.append(vector)
    assert len({vector.tobytes() for vector in vectors}) == len(vectors)


def test_positions_in_one_dimension(opened: Callable[[str], EmbeddingModel]) -> None:
    """As VLM2Vec's models saw them: transformers would give a picture's tokens two, whose vector is another."""
    model = opened("qwen2_vl")
    entry = {"image": Image.fromarray(NOISE[0]), "text": "<|image_1|> what"}
    features = raw_features(model, [entry, {"image": Image.fromarray(NOISE[1]), "text": "<|image_1|> what is this"}])
    mask_BT = features["attention_mask"]
    assert features["position_ids"].shape == (3, *mask_BT.shape)
    for row, mask in zip(features["position_ids"][0], mask_BT.bool(), strict=True):
        assert row[mask].tolist() == list(range(int(mask.sum())))
    alone = raw_features(model, [entry])
    with torch.inference_mode():
        flat = model(dict(alone))["sentence_embedding"]
        ids = alone["input_ids"]
        kinds = (ids == model[0].processor.image_token_id).long()
        without = {key: value for key, value in alone.items() if key != "position_ids"}
        deep = model({**without, "mm_token_type_ids": kinds})["sentence_embedding"]
    assert (flat - deep).norm() > 1e-3


def test_a_small_picture_is_enlarged_and_a_users_token_is_a_text(opened: Callable[[str], EmbeddingModel]) -> None:
    model = opened("qwen2_vl")
    features = raw_features(model, [{"image": Image.new("RGB", (20, 300)), "text": "<|image_1|> <|image_pad|>"}])
    merged = model[0].processor.image_processor.merge_size
    assert features["image_grid_thw"].tolist() == [[1, 4, 4]]  # 56 x 56 pixels of patches of 14
    assert int((features["input_ids"] == model[0].processor.image_token_id).sum()) == 16 // merged**2
    assert model.tokenizer.decode(features["input_ids"][0]).endswith(" < |image_pad|>")


def test_a_text_is_cut_at_its_end(opened: Callable[[str], EmbeddingModel]) -> None:
    model = opened("qwen2_vl")
    before, model.max_seq_length = model.max_seq_length, 8
    try:
        features = raw_features(model, ["0123456789"])
    finally:
        model.max_seq_length = before
    assert model.tokenizer.decode(features["input_ids"][0]) == "01234567"


def test_a_model_without_a_placeholder_is_refused(opened: Callable[[str], EmbeddingModel]) -> None:
    with pytest.raises(UserError, match=r"--template none: the processor of this model .* has no token"):
        require_raw(opened("bert"))
