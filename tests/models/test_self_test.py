"""The self-test: sound models pass every probe that fits them, and each kind of damage fails its own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from llave.models import self_test as module
from llave.models.model import EmbeddingModel
from llave.models.self_test import Probe, self_test

Opened = Callable[[str], EmbeddingModel]
ALWAYS = {"text", "mix: alone = together", "a long text is cut inside"}
OF_PICTURES = {"picture", "fused", "video", "fused is neither alone"}


def failed(model: EmbeddingModel) -> dict[str, Probe]:
    return {probe.name: probe for probe in self_test(model) if not probe.ok}


def test_a_sound_model_passes(any_model: EmbeddingModel) -> None:
    before = any_model.tokenizer.padding_side
    probes = {probe.name: probe for probe in self_test(any_model)}
    assert [probe for probe in probes.values() if not probe.ok] == []
    expected = ALWAYS | OF_PICTURES if any_model.supports("video") else ALWAYS | OF_PICTURES - {"video"}
    assert probes.keys() - {"padding on the other side"} == expected
    assert any_model.tokenizer.padding_side == before


def test_a_text_encoder_is_asked_for_texts_alone(opened: Opened) -> None:
    probes = list(self_test(opened("bert")))
    assert {probe.name for probe in probes} == ALWAYS
    assert all(probe.ok for probe in probes)


def hooked(model: EmbeddingModel, change: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
    """The features behind the first module, changed; returns what undoes it."""

    def hook(_: Any, __: Any, features: dict[str, Any]) -> dict[str, Any]:
        change(features)
        return features

    return model[0].register_forward_hook(hook).remove


def first_row_leaks(features: dict[str, Any]) -> None:
    states = features["token_embeddings"]
    features["token_embeddings"] = states + states[:1].mean(1, keepdim=True)


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], None], set[str]]] = {
    "not finite": (
        lambda features: features["token_embeddings"].fill_(torch.nan),
        {"text", "picture", "fused", "video"},
    ),
    "always the same": (
        lambda features: features["token_embeddings"].fill_(1.0),
        {"text", "picture", "fused", "video", "fused is neither alone"},
    ),
    "a neighbour counts": (first_row_leaks, {"mix: alone = together", "padding on the other side"}),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found(opened: Opened, kind: str) -> None:
    change, names = DAMAGE[kind]
    undo = hooked(opened("qwen2_vl"), change)
    try:
        assert failed(opened("qwen2_vl")).keys() == names
    finally:
        undo()


def test_an_error_of_the_model_is_the_measure(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened("qwen2_vl")

    def broken(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("no kernel for this device")

    monkeypatch.setattr(model[0].model.visual, "forward", broken)
    found = failed(model)
    assert found.keys() == {"picture", "fused", "video"}
    assert found["picture"].measured == "no kernel for this device"


def test_a_long_text_cut_at_its_end(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """As tokenizers cut: the template's end, whose last token is the vector, is gone."""
    model = opened("qwen2_vl")
    right = model.preprocess

    def cut(inputs: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        features = right(inputs, *arguments, **options)
        if len(str(inputs[0])) > 1000:
            features["input_ids"][:, -1] = 65
        return features

    monkeypatch.setattr(model, "preprocess", cut)
    assert failed(model).keys() == {"a long text is cut inside"}


def test_the_inputs_differ() -> None:
    pictures = [np.asarray(module._picture(number).resize((64, 64)), dtype=float) for number in range(8)]
    for number, one in enumerate(pictures):
        assert all(np.abs(one - other).mean() > 5 for other in pictures[:number])
