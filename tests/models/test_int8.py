"""Linear layers in int8: values, what is left alone, and what tells such a model from another one."""

import copy
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from llave import load_model
from llave.encode.cache import model_fingerprint
from llave.encode.item import Item
from llave.encode.quantized import Loss, quantize_measured
from llave.errors import UserError
from llave.models import precision
from llave.models.about import dtype_of, quantize_of
from llave.models.int8 import ACTIVATION, WEIGHT, Int8Linear, quantize_layers, quantize_model, require_int8
from llave.models.model import EmbeddingModel
from llave.models.precision import eval_dtype
from tests.models.tiny_encoders import clip, siglip, siglip2

TEXTS = ["a red circle", "a long text about " + "many small things " * 20, "x", ""]


def plain(layer: Int8Linear, x: torch.Tensor) -> torch.Tensor:
    """What the layer computes, in float64 and one step after the other."""
    low = x.amin(-1, keepdim=True)
    step = (x.amax(-1, keepdim=True) - low) / ACTIVATION
    code = torch.where(step > 0, (x - low) / step, 0).round().double()
    whole = code @ layer.code_OI.double().T
    return (whole * step + low * layer.code_OI.double().sum(1)) * layer.scale_O + layer.bias


@pytest.mark.parametrize(("width", "out"), [(1, 1), (7, 5), (384, 1536), (897, 33)])
@pytest.mark.parametrize("shape", [(1,), (2, 3), (65,), (1, 1, 4)])
def test_it_is_its_plain_form(width: int, out: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = Int8Linear(nn.Linear(width, out, bias=out != 5))
    x = torch.randn(*shape, width) * 10 - 3
    torch.testing.assert_close(layer(x).double(), plain(layer, x), rtol=1e-5, atol=1e-4)


def test_it_is_near_float32_and_the_greatest_codes_do_not_overflow() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(512, 64)
    x = torch.randn(100, 512)
    wanted = linear(x)
    assert (Int8Linear(linear)(x) - wanted).norm() / wanted.norm() < 0.02
    with torch.no_grad():
        linear.weight.fill_(1.0)
        linear.bias.zero_()
    extreme = torch.ones(1, 512)
    extreme[0, 0] = 0  # all others have the greatest code, and so has every weight
    assert Int8Linear(linear)(extreme).flatten().tolist() == pytest.approx([511.0] * 64, rel=1e-6)
    assert 2 * WEIGHT * ACTIVATION < 2**15


def test_a_row_does_not_depend_on_the_others() -> None:
    torch.manual_seed(0)
    layer = Int8Linear(nn.Linear(96, 40))
    x = torch.randn(70, 96)
    x[3] *= 1000
    together = layer(x)
    for row in (0, 3, 69):
        assert torch.equal(layer(x[row : row + 1])[0], together[row])


def test_edges() -> None:
    layer = Int8Linear(nn.Linear(8, 3))
    assert layer(torch.zeros(0, 8)).shape == (0, 3)
    assert layer(torch.zeros(2, 0, 8)).shape == (2, 0, 3)
    assert torch.equal(layer(torch.zeros(2, 8)), layer.bias.expand(2, 3))
    constant = torch.full((1, 8), 2.5)
    torch.testing.assert_close(layer(constant), constant @ layer.weight.T + layer.bias)
    assert layer(torch.randn(2, 8).bfloat16()).dtype == torch.bfloat16
    assert layer(torch.tensor([[1.0] * 7 + [float("nan")]])).isnan().all(), "a bad number must not be hidden"


@pytest.mark.parametrize("again", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_is_the_same(again: Callable[[Int8Linear], Int8Linear]) -> None:
    layer = Int8Linear(nn.Linear(16, 4))
    x = torch.randn(5, 16)
    assert torch.equal(again(layer)(x), layer(x))


def test_what_is_left_alone() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(10, 8)
            self.tied = nn.Linear(8, 10, bias=False)
            self.tied.weight = self.embed.weight
            self.patch_embed = nn.Linear(8, 8)
            self.attention = nn.MultiheadAttention(8, 2)
            self.one = nn.Linear(8, 8)
            self.same = self.one
            self.visual_projection = nn.Linear(8, 8)

    small = Small().eval()
    assert quantize_layers(small) == 1
    assert isinstance(small.one, Int8Linear)
    assert small.same is small.one
    assert not small.one.training
    assert type(small.attention.out_proj) is not Int8Linear
    for name in ("tied", "patch_embed", "visual_projection"):
        assert type(getattr(small, name)) is nn.Linear


def test_nano_in_int8(tmp_path: Path) -> None:
    wanted, model = (load_model("nano", device="cpu", quantize=how) for how in (None, "int8"))
    assert (quantize_of(wanted), quantize_of(model), dtype_of(model)) == (None, "int8", "float32")
    cosines = (wanted.encode(TEXTS) * model.encode(TEXTS)).sum(1)
    assert cosines.min() > 0.97
    assert cosines.max() < 0.99999, "nothing was rounded"
    assert model_fingerprint(model) != model_fingerprint(wanted)
    parameters = [sum(each.numel() for each in one.parameters()) for one in (wanted, model)]
    assert parameters[0] <= parameters[1] < 1.01 * parameters[0], "a report counts weights in int8, too"
    with pytest.raises(UserError, match="in int8 is not saved"):
        model.save_pretrained(str(tmp_path / "saved"))


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "llava_onevision", "siglip", "siglip2", "clip", "bert"])
def test_families(
    family: str, opened: Callable[[str], EmbeddingModel], picture: Callable[[int], Any], tmp_path: Path
) -> None:
    """Code that reads a layer's weight or its type goes on."""
    towers = {"clip": clip, "siglip": siglip, "siglip2": siglip2}
    model = load_model(towers[family](tmp_path), device="cpu") if family in towers else opened(family)
    inputs: list[Any] = ["a red circle", "two words"]
    if family != "bert":
        inputs.append(picture(1))
    quantized = copy.deepcopy(model)
    quantize_model(quantized)
    for one in inputs:
        assert float(model.encode([one])[0] @ quantized.encode([one])[0]) > 0.97


def test_loss_is_measured(nano_untouched: EmbeddingModel) -> None:
    model = copy.deepcopy(nano_untouched)
    loss = quantize_measured(model, [Item(text) for text in TEXTS[:2]] + [Item("", Path("nowhere.png"))], prompt="")
    assert quantize_of(model) == "int8"
    assert loss.items == 2
    assert 0.97 < loss.least <= loss.mean < 0.99999
    assert re.fullmatch(
        r"int8: cosine to the same model's float32 vectors at least 0\.9\d{3}, 0\.9\d{3} in the mean, over 2 items",
        str(loss),
    )
    assert "no item" in str(Loss(np.nan, np.nan, 0))


def test_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"would run on cuda: say --device cpu"):
        load_model("nano", device="cuda", quantize="int8")
    with pytest.raises(UserError, match="not with dtype bfloat16"):
        load_model("nano", device="cpu", dtype="bfloat16", quantize="int8")
    wrong: Any = "int4"
    with pytest.raises(UserError, match=r"quantize 'int4': int8 or none"):
        load_model("nano", device="cpu", quantize=wrong)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with pytest.raises(UserError, match="needs oneDNN"):
        require_int8("cpu")


@pytest.mark.parametrize(
    ("wanted", "device", "quantize", "quick", "dtype"),
    [
        (None, "cpu", None, True, "bfloat16"),
        (None, "cpu", None, False, None),
        (None, "cpu", "none", True, "bfloat16"),
        (None, "cpu", "int8", True, "float32"),
        ("float32", "cpu", None, True, "float32"),
        ("bfloat16", "cpu", None, False, "bfloat16"),
        (None, "mps", None, True, None),
    ],
)
def test_the_type_of_weights(
    wanted: str | None,
    device: str,
    quantize: str | None,
    quick: bool,
    dtype: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "processor_multiplies_bfloat16", lambda: quick)
    assert eval_dtype(wanted, device, quantize) == dtype


def test_a_fleet_of_several_kinds_may_say_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    monkeypatch.delenv("LLAVE_BFLOAT16")
    assert precision.processor_multiplies_bfloat16()
    monkeypatch.setenv("LLAVE_BFLOAT16", "never")
    assert not precision.processor_multiplies_bfloat16()
