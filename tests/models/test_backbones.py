"""Raw directories of the supported architectures: small random models of the real classes, real processors."""

import functools
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave import HardnessWeightedLoss, load_model
from llave.data.frames import Frames
from llave.errors import UserError
from llave.models.model import EmbeddingModel
from llave.models.prompts import model_input, require_video
from llave.models.tower_reuse import vision_tower
from tests.models.tiny_backbones import BACKBONES, build


def picture(width: int, height: int) -> Image.Image:
    generator = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(generator.integers(0, 255, (6, 5, 3), dtype=np.uint8)).resize((width, height))


def items(model: EmbeddingModel) -> dict[str, Any]:
    """One of each kind that the model takes."""
    video = np.stack([np.asarray(picture(60, 60 + frame).resize((60, 60))) for frame in range(4)])
    sound = np.sin(np.arange(8000) / 9).astype(np.float32)
    found = {
        "text": "hello world",
        "long": "a longer text, " * 6,
        "image": picture(80, 60),
        "fused": {"image": picture(50, 90), "text": "what is this? " * 3},
        "multi": {"image": [picture(60, 60), picture(64, 48)], "text": "two"},
        "video": {"video": video, "text": "a clip"},
        "audio": {"audio": {"array": sound, "sampling_rate": 16_000}, "text": "a tone"},
    }
    return {name: item for name, item in found.items() if name not in ("video", "audio") or model.supports(name)}


@pytest.fixture(scope="module", params=sorted(BACKBONES))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> EmbeddingModel:
    directory = build(request.param, tmp_path_factory.mktemp(request.param))
    return load_model(directory, device="cpu").eval()


def apart(model: EmbeddingModel) -> bool:
    """A batch holds pictures or videos: SmolVLM's processor has one place for the pixels of either."""
    return architecture(model) == "smolvlm"


def architecture(model: EmbeddingModel) -> str:
    return str(model[0].model.config.model_type)


@pytest.mark.parametrize("side", ["left", "right"])
def test_any_mix_equals_single_items(model: EmbeddingModel, side: str) -> None:
    inputs = items(model)
    single = {name: model.encode([item], convert_to_tensor=True)[0] for name, item in inputs.items()}
    for one, other in itertools.combinations(single, 2):
        assert (single[one] - single[other]).norm() > 0.05  # different things, different vectors
    mixes = [["text", "image"], ["long", "fused", "image"], ["image", "text", "multi"], ["text", "long"]]
    mixes += [[kind, "text"] for kind in ("video", "audio") if kind in inputs]
    mixes.append([name for name in inputs if name != "video" or not apart(model)])
    before = model.tokenizer.padding_side
    model.tokenizer.padding_side = side
    try:
        for mix in mixes:
            vectors = model.encode([inputs[name] for name in mix], batch_size=len(mix), convert_to_tensor=True)
            for name, vector in zip(mix, vectors, strict=True):
                assert torch.allclose(vector, single[name], atol=1e-5), (mix, name)
    finally:
        model.tokenizer.padding_side = before


def test_videos_of_equal_length_and_every_frame_counts(model: EmbeddingModel) -> None:
    """Qwen3-VL's processor, as it comes, drops every other frame."""
    if not model.supports("video"):
        with pytest.raises(UserError, match="this model takes no video"):
            require_video(model)
        return
    require_video(model)
    generator = np.random.default_rng(0)

    def video(frames: int, height: int = 60) -> list[Image.Image]:
        return [Image.fromarray(generator.integers(0, 255, (height, 60, 3), np.uint8)) for _ in range(frames)]

    for batch in ([video(8), video(8, 90)], [video(3), video(3)], [video(1), video(1, 48)]):
        entries = [model_input(text, None, video=frames) for text, frames in zip(("", "a clip"), batch, strict=True)]
        together = model.encode(entries, convert_to_tensor=True)
        for entry, vector in zip(entries, together, strict=True):
            assert torch.allclose(model.encode([entry], convert_to_tensor=True)[0], vector, atol=1e-5)
    frames = video(8)
    whole = model.encode([model_input("", None, video=frames)], convert_to_tensor=True)[0]
    for place in range(8):
        changed = [*frames[:place], video(1)[0], *frames[place + 1 :]]
        assert (model.encode([model_input("", None, video=changed)], convert_to_tensor=True)[0] - whole).norm() > 1e-4


def test_a_model_is_told_when_frames_were_taken(model: EmbeddingModel) -> None:
    """The same frames in 2 and in 60 seconds, and beside a video of unknown times; without being told, no difference.

    EmbeddingGemma 2 is told only where its checkpoint says ``add_timestamps``.
    """
    if not model.supports("video"):
        return
    pictures = [picture(60, 60).rotate(90 * turn) for turn in range(4)]
    quick, slow, unknown = (
        model_input("a clip", None, video=Frames(pictures, seconds))
        for seconds in ([0, 0.5, 1, 1.5], [0, 19.5, 39, 58.5], None)
    )
    vectors = model.encode([quick, slow, unknown], batch_size=3, convert_to_tensor=True)
    for entry, vector in zip((quick, slow, unknown), vectors, strict=True):
        assert torch.allclose(model.encode([entry], convert_to_tensor=True)[0], vector, atol=1e-5)
    if model.family.timed and getattr(model.processor.video_processor, "add_timestamps", True):
        assert (vectors[0] - vectors[1]).norm() > 1e-4
    else:
        assert torch.allclose(vectors[0], vectors[2], atol=1e-5)
    once = model_input("", None, video=Frames(pictures[:1], [7.0]))
    assert model.encode([once], convert_to_tensor=True).isfinite().all()


def test_the_picture_comes_first_and_both_count(model: EmbeddingModel) -> None:
    image, text = picture(50, 90), "what is this?"
    one, other, blank = model.encode(
        [{"image": image, "text": text}, model_input(text, image), {"image": picture(51, 90), "text": text}],
        convert_to_tensor=True,
    )
    assert torch.allclose(one, other, atol=1e-6)
    assert (one - blank).norm() > 1e-3


def test_no_head_and_the_final_norm(model: EmbeddingModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vector is the last token's after the decoder's last norm; no logits, no list of hidden states.

    EmbeddingGemma 2's is the mean over all tokens, of what its last layer projects.
    """
    network = model[0].model
    assert not hasattr(network, "lm_head")
    decoder = network.language_model if hasattr(network, "language_model") else network.text_model
    normed: list[torch.Tensor] = []
    seen: list[Any] = []
    forward = network.forward

    @functools.wraps(forward)
    def watched(*arguments: Any, **options: Any) -> Any:
        seen.append(forward(*arguments, **options))
        return seen[-1]

    monkeypatch.setattr(network, "forward", watched)
    last = getattr(decoder, "embedding_projection", decoder.norm)
    hook = last.register_forward_hook(lambda module, arguments, output: normed.append(output))
    try:
        vector = model.encode(["hello world"], convert_to_tensor=True)[0]
    finally:
        hook.remove()
    pooled = normed[-1][0].mean(0) if model.family.pooling == "mean" else normed[-1][0, -1]
    assert torch.allclose(torch.nn.functional.normalize(pooled, dim=0), vector, atol=1e-6)
    assert getattr(seen[-1], "hidden_states", None) is None


def test_texts_never_reach_the_vision_tower(model: EmbeddingModel) -> None:
    network = model[0].model
    tower = vision_tower(network)
    calls = []
    hook = tower.register_forward_hook(lambda *_: calls.append(1))
    try:
        model.encode(["a", "b c"])
        assert not calls
        model.encode([picture(60, 60)])
        assert calls
    finally:
        hook.remove()


def test_saved_and_opened_by_sentence_transformers_alone(model: EmbeddingModel, tmp_path: Path) -> None:
    model.save(str(tmp_path))
    alone = ("fused",) if model.family.bare else ("text", "image", "fused")  # PaliGemma's processor takes pairs alone
    inputs = [items(model)[name] for name in alone]
    expected = model.encode(inputs, convert_to_tensor=True)
    assert torch.allclose(
        SentenceTransformer(str(tmp_path), device="cpu").encode(inputs, convert_to_tensor=True), expected
    )
    assert torch.allclose(load_model(tmp_path, device="cpu").encode(inputs, convert_to_tensor=True), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"mini_batch_size": 1, "keep_graphs": 0},
        {"mini_batch_size": 4, "sort_by_length": False},
        {"mini_batch_size": 2, "keep_graphs": 3},
        {"mini_batch_num_tokens": 150, "keep_graphs": 99},
    ],
    ids=str,
)
def test_gradients_of_mixed_rows_do_not_depend_on_mini_batches(model: EmbeddingModel, options: dict[str, Any]) -> None:
    """Texts, pictures, both and (where a batch may hold them) videos in one column."""
    inputs = items(model)
    queries = ["a", inputs["image"], inputs["fused"], inputs["multi"], inputs["long"], inputs["text"]]
    targets = [picture(200, 60), "b", picture(60, 60), "c", inputs["fused"], "d"]
    if "video" in inputs and not apart(model):
        queries.insert(1, inputs["video"])
        targets.insert(1, "e")
    if "audio" in inputs:
        queries.insert(2, "e")
        targets.insert(2, inputs["audio"])

    def gradients(loss: HardnessWeightedLoss) -> tuple[float, torch.Tensor]:
        model.zero_grad()
        value = loss([model.preprocess(queries), model.preprocess(targets)])
        value.backward()
        return value.item(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    expected, whole = gradients(HardnessWeightedLoss(model, temperature=0.1))
    value, found = gradients(HardnessWeightedLoss(model, temperature=0.1, **options))
    assert value == pytest.approx(expected, rel=1e-5)
    assert found.shape == whole.shape
    assert torch.allclose(found, whole, atol=1e-5 * float(whole.abs().max()))


def tower_passes(
    model: EmbeddingModel, queries: list[Any], targets: list[Any], *, reuse: bool
) -> tuple[int, list[torch.Tensor]]:
    """How often the vision tower runs in a step of GradCache, and the step's gradients."""
    tower = vision_tower(model[0].model)
    forward = type(tower).forward
    count = 0

    def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        return forward(self, *arguments, **options)

    model.zero_grad()
    loss = HardnessWeightedLoss(model, temperature=0.1, mini_batch_size=2, vision_reuse_gib=4.0 * reuse, keep_graphs=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(tower), "forward", counted)
        loss([model.preprocess(queries), model.preprocess(targets)]).backward()
    assert "forward" not in vars(tower)
    return count, [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_tower_runs_once_per_step(model: EmbeddingModel, frozen: bool) -> None:
    """Counted; and the gradients are those without reuse, bit for bit. A tower that learns runs twice."""
    tower = vision_tower(model[0].model)
    tower.requires_grad_(not frozen)
    inputs = items(model)
    queries = [inputs["image"], "a", inputs["fused"], inputs["multi"], inputs["text"]]
    targets = ["b", inputs["image"], picture(33, 70), "c", inputs["fused"]]
    try:
        twice, expected = tower_passes(model, queries, targets, reuse=False)
        once, found = tower_passes(model, queries, targets, reuse=True)
    finally:
        tower.requires_grad_(True)
    assert once == (twice // 2 if frozen else twice)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_kept_graph_is_embedded_once(model: EmbeddingModel) -> None:
    """Counted, and the gradients are those of embedding twice, bit for bit."""
    inputs = items(model)
    queries, targets = [inputs["image"], "a", inputs["fused"], inputs["text"]], ["b", "c c c", "d", picture(60, 60)]
    count = 0

    def counted(*_: Any) -> None:
        nonlocal count
        count += 1

    def run(keep_graphs: int) -> tuple[int, list[torch.Tensor]]:
        nonlocal count
        count = 0
        model.zero_grad()
        loss = HardnessWeightedLoss(model, temperature=0.1, mini_batch_size=2, keep_graphs=keep_graphs)
        loss([model.preprocess(queries), model.preprocess(targets)]).backward()
        return count, [p.grad.clone() for p in model.parameters() if p.grad is not None]

    hook = model.register_forward_hook(counted)
    try:
        (none, expected), (one, first), (most, all_kept) = run(0), run(1), run(99)
    finally:
        hook.remove()
    assert (none, one, most) == (8, 7, 5)  # four mini-batches; the last is always embedded twice
    for found in (first, all_kept):
        assert all(torch.equal(left, right) for left, right in zip(found, expected, strict=True))


def test_rows_sorted_by_length_keep_their_pictures(model: EmbeddingModel) -> None:
    """Any mix: after sorting, the embedding of each sample is its own, and padding is saved."""
    from llave.losses.minibatch import by_length, create_minibatch

    inputs = items(model)
    samples = [inputs["multi"], "a", inputs["fused"], inputs["long"], inputs["image"], inputs["text"]]
    if "video" in inputs and not apart(model):
        samples.insert(2, inputs["video"])
    if "audio" in inputs:
        samples.insert(4, inputs["audio"])
    video = getattr(model[0].model.config, "video_token_id", None)
    features = model.preprocess(samples)
    ordered, places = by_length(features, video_token_id=video)
    assert places is not None
    assert ordered["attention_mask"].sum(1).diff().min() >= 0
    with torch.no_grad():
        parts = [create_minibatch(ordered, row, row + 2, video_token_id=video) for row in range(0, len(samples), 2)]
        found = torch.cat([model(part)["sentence_embedding"] for part in parts])[places]
        assert torch.allclose(found, model(features)["sentence_embedding"], atol=1e-5)
    assert parts[0]["input_ids"].shape[1] < features["input_ids"].shape[1] or model.tokenizer.padding_side == "left"
    again, none = by_length(ordered, video_token_id=video)
    assert none is None
    assert again is ordered


def test_features_kept_across_steps(model: EmbeddingModel) -> None:
    """A picture seen in an earlier step is not computed again; the gradients are the same to rounding."""
    network = model[0].model
    tower = vision_tower(network)
    tower.requires_grad_(False)
    inputs = items(model)
    pictures = 0
    forward = tower.forward

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal pictures
        pictures += len(arguments[0] if arguments else options["pixel_values"])
        return forward(*arguments, **options)

    def run(loss: HardnessWeightedLoss, queries: list[Any]) -> list[torch.Tensor]:
        model.zero_grad()
        loss([model.preprocess(queries), model.preprocess(["a", "b", "c c"])]).backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    first = [inputs["image"], inputs["fused"], "a"]
    second = [picture(60, 60), inputs["image"], inputs["fused"]]
    tower.forward = counted
    try:
        for cached in ({"mini_batch_size": 2}, {}):
            plain, keeping = (
                HardnessWeightedLoss(model, temperature=0.1, vision_cache_gib=gib, **cached) for gib in (0.0, 1.0)
            )
            expected = [run(plain, queries) for queries in (first, second, second)]
            pictures = 0
            found, seen = [], []
            for queries in (first, second, second):
                found.append(run(keeping, queries))
                seen.append(pictures)
            for left, right in zip(found, expected, strict=True):
                scale = max(float(value.abs().max()) for value in right)
                assert all(torch.allclose(a, b, atol=1e-5 * scale) for a, b in zip(left, right, strict=True))
            cache = keeping.vision_cache
            assert cache is not None
            if architecture(model).startswith(("qwen", "embedding_gemma")):  # these towers take patches, not pictures
                assert len(cache) == 0
            else:
                assert seen[0] < seen[1] == seen[2]
                assert cache.misses == len(cache) == seen[2]
                assert cache.hits > 0
    finally:
        del tower.forward
        tower.requires_grad_(True)
