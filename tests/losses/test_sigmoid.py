"""SigLIP's sigmoid loss against its formula in plain words, its known positives, and in training."""

from pathlib import Path

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from llave import load_model
from llave.losses.sigmoid import SigmoidLoss, sigmoid_loss
from llave.training.processes import every_parameter_takes_part
from tests.gloo import in_processes
from tests.models.test_backbones import picture
from tests.models.tiny_encoders import clip, siglip


def unit(rows: int, seed: int) -> torch.Tensor:
    value = torch.randn(rows, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(value, dim=-1)


@pytest.mark.parametrize("extra", [0, 3])
def test_value_and_gradient_are_those_of_the_formula(extra: int) -> None:
    query, target = unit(5, 0).requires_grad_(), unit(5 + extra, 1).requires_grad_()
    scale, bias = torch.tensor(7.0, dtype=torch.float64, requires_grad=True), torch.tensor(-3.0, requires_grad=True)
    total = torch.zeros((), dtype=torch.float64)
    for row in range(5):
        for column in range(5 + extra):
            logit = query[row] @ target[column] * scale + bias
            total = total - torch.nn.functional.logsigmoid(logit if row == column else -logit)
    expected = torch.autograd.grad(total / 5, (query, target, scale, bias))
    value = sigmoid_loss(query, target, scale=scale, bias=bias)
    assert value.item() == pytest.approx(total.item() / 5, rel=1e-12)
    for one, other in zip(torch.autograd.grad(value, (query, target, scale, bias)), expected, strict=True):
        assert torch.allclose(one, other, atol=1e-10)


def test_known_positives_do_not_count() -> None:
    query, target = unit(3, 0), unit(3, 1)
    ids = torch.tensor([4, 4, 5])
    alone = [sigmoid_loss(query[[row]], target[[row]], scale=9.0, bias=-2.0) for row in (0, 1, 2)]
    pairs = [(0, 2), (1, 2), (2, 0), (2, 1)]
    others = [torch.nn.functional.softplus(query[row] @ target[column] * 9 - 2) for row, column in pairs]
    found = sigmoid_loss(query, target, scale=9.0, bias=-2.0, target_ids=ids)
    assert found.item() == pytest.approx(float(sum(alone) + sum(others)) / 3)


@pytest.mark.parametrize("own", [True, False])
def test_the_models_own_scale_and_bias_are_learned(tmp_path: Path, own: bool) -> None:
    """SigLIP has both; CLIP has no bias, and gets the fixed ones. GradCache gives the same, scaled as the loss is."""
    model = load_model((siglip if own else clip)(tmp_path), device="cpu").eval()
    columns = [[picture(40, 50), "a", "the cat"], ["b", picture(60, 40), "c"]]
    gradients = []
    for options in ({}, {"mini_batch_size": 1}):
        model.zero_grad()
        loss = SigmoidLoss(model, temperature=0.1, bias=-5.0, **options)
        (loss([model.preprocess(column) for column in columns]) / 4).backward()  # as one of four accumulated batches
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert ("0.model.logit_bias" in gradients[0]) == own
    assert ("0.model.logit_scale" in gradients[0]) == own
    scale = max(float(value.abs().max()) for value in gradients[0].values())
    assert gradients[0].keys() == gradients[1].keys()
    for name, value in gradients[0].items():
        assert torch.allclose(value, gradients[1][name], atol=1e-5 * scale), name


TEXTS = [["a", "a long dog", "b", "the cat"], ["one", "two", "three of a kind", "four"]]


@pytest.mark.parametrize("mini_batch_size", [1, 3])
def test_texts_padded_to_one_length_stay_so_in_mini_batches(tmp_path: Path, mini_batch_size: int) -> None:
    """SigLIP's vector of a text is what stands at its last place."""
    model = load_model(siglip(tmp_path), device="cpu").eval()
    found = []
    for options in ({}, {"mini_batch_size": mini_batch_size}):
        model.zero_grad()
        loss = SigmoidLoss(model, **options)([model.preprocess(column) for column in TEXTS])
        loss.backward()
        found.append((loss.item(), torch.cat([p.grad.ravel() for p in model.parameters() if p.grad is not None])))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-6)
    assert torch.allclose(found[1][1], found[0][1], atol=1e-5)


def _of_rank(rank: int, path: str, options: dict[str, int]) -> list[torch.Tensor]:
    model = load_model(path, device="cpu").eval()
    every_parameter_takes_part(model)
    share = slice(2 * rank, 2 * rank + 2)
    parallel = DistributedDataParallel(model)
    loss = SigmoidLoss(parallel, **options)
    loss([model.preprocess(column[share]) for column in TEXTS]).backward()
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"mini_batch_size": 1}])
def test_two_processes_learn_scale_and_bias_as_one(tmp_path: Path, options: dict[str, int]) -> None:
    path = siglip(tmp_path)
    model = load_model(path, device="cpu").eval()
    SigmoidLoss(model)([model.preprocess(column) for column in TEXTS]).backward()
    ranks = in_processes(_of_rank, str(path), options)
    for name, parameter in model.named_parameters():
        number = list(dict(model.named_parameters())).index(name)
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for found in ranks:
            assert torch.allclose(found[number], expected, atol=1e-5 * (1 + float(expected.abs().max()))), name
