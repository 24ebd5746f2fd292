"""The positive's margin against plain words, and LLaVE's loss as InfoNCE with a margin at another temperature."""

import pytest
import torch
from torch import Tensor

from llave import hardness_weighted_loss
from llave.losses.functional import IMPLEMENTATIONS


def unit(rows: int, dim: int, seed: int) -> Tensor:
    value = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(value, dim=-1)


def leaves(size: int, extra: int) -> tuple[Tensor, Tensor]:
    query = unit(size, 6, 0)
    target = torch.cat([torch.nn.functional.normalize(query + 0.4 * unit(size, 6, 1), dim=-1), unit(extra, 6, 2)])
    return query.requires_grad_(), target.requires_grad_()


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("size", "extra"), [(2, 0), (5, 3), (7, 14)])
def test_value_and_gradient_are_those_of_the_formula(size: int, extra: int, symmetric: bool, impl: str) -> None:
    """The temperature's too: it divides the cosine less its margin."""
    query, target = leaves(size, extra)
    tau = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    cosine = query @ target.T
    z = cosine / tau
    z = z + 3.0 * cosine.detach() * (1 - torch.eye(size, size + extra, dtype=torch.float64))
    z = z - torch.nn.functional.pad(torch.diag(0.3 * cosine.diagonal().detach()), (0, extra)) / tau
    expected = torch.nn.functional.cross_entropy(z, torch.arange(size))
    if symmetric:
        expected = (expected + torch.nn.functional.cross_entropy(z[:, :size].T, torch.arange(size))) / 2
    loss = hardness_weighted_loss(
        query, target, temperature=tau, alpha=3.0, positive_margin=0.3, symmetric=symmetric, impl=impl
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    gradients = (torch.autograd.grad(value, (query, target, tau)) for value in (loss, expected))
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("dims", [None, [2, 6]])
@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize(("temperature", "alpha"), [(0.02, 9.0), (0.05, 9.0), (0.5, 3.0)])
def test_llave_is_infonce_with_a_margin_at_another_temperature(
    temperature: float, alpha: float, ids: bool, dims: list[int] | None, impl: str
) -> None:
    """The same value, hence the same softmax weights; all gradients by one factor, 1 + alpha * tau."""
    options = {"target_ids": torch.tensor([1, 2, 1, 3, 4, 2, 5, 6]) if ids else None, "matryoshka_dims": dims}
    query, target = leaves(5, 3)
    llave = hardness_weighted_loss(query, target, temperature=temperature, alpha=alpha, impl=impl, **options)
    factor = 1 + alpha * temperature
    control = hardness_weighted_loss(
        query,
        target,
        temperature=1 / (1 / temperature + alpha),
        alpha=0.0,
        positive_margin=alpha * temperature / factor,
        impl=impl,
        **options,
    )
    assert control.item() == pytest.approx(llave.item(), rel=1e-10)
    gradients = (torch.autograd.grad(value, (query, target)) for value in (control, llave))
    for with_margin, weighted in zip(*gradients, strict=True):
        assert weighted.norm() > 1e-6
        assert torch.allclose(with_margin, factor * weighted, rtol=1e-9, atol=1e-12)


def test_a_margin_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="positive_margin must be at least 0 and below 1, got 1"):
        hardness_weighted_loss(unit(2, 3, 0), unit(2, 3, 1), positive_margin=1.0)
