"""Which negatives alpha applies to, against the formula pair by pair and against sentence-transformers' modes."""

from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import Tensor

from llave import HardnessWeightedLoss, hardness_weighted_loss
from llave.losses.functional import IMPLEMENTATIONS
from llave.losses.weighting import alphas

WEIGHTINGS = ["all", "hard_negatives", "in_batch"]
SHAPES = [(1, 0, 3), (3, 3, 5), (5, 7, 4), (7, 14, 6)]
"""Pairs, extra negatives, dimensions."""


def unit(rows: int, dim: int, seed: int) -> Tensor:
    value = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(value, dim=-1)


def pair_by_pair(query: Tensor, target: Tensor, temperature: float, alpha: float, weighting: str) -> Tensor:
    """The loss in both directions as nested loops over autograd's scalars."""
    size, total = len(query), torch.zeros((), dtype=torch.float64)

    def weighted(i: int, j: int) -> Tensor:
        cosine = query[i] @ target[j]
        own = j >= size and j % size == i
        applies = {"all": True, "hard_negatives": own, "in_batch": not own}[weighting]
        return (cosine / temperature + alpha * applies * cosine.detach()).exp()

    for i in range(size):
        positive = (query[i] @ target[i] / temperature).exp()
        row = sum((weighted(i, j) for j in range(len(target)) if j != i), torch.zeros(()))
        column = sum((weighted(j, i) for j in range(size) if j != i), torch.zeros(()))
        total = total + torch.log1p(row / positive) + torch.log1p(column / positive)
    return total / (2 * size)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_value_and_gradient_are_those_of_the_formula(shape: tuple[int, int, int], weighting: str, impl: str) -> None:
    size, extra, dim = shape
    leaves = unit(size, dim, 0).requires_grad_(), unit(size + extra, dim, 1).requires_grad_()
    expected = pair_by_pair(*leaves, 0.2, 4.0, weighting)
    options: dict[str, Any] = {"temperature": 0.2, "alpha": 4.0, "weighting": weighting, "impl": impl}
    loss = hardness_weighted_loss(*leaves, **options)
    assert torch.allclose(loss, expected, rtol=1e-12)
    if size + extra > 1:
        gradients = (torch.autograd.grad(value, leaves) for value in (loss, expected))
        for one, other in zip(*gradients, strict=True):
            assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)
    if extra and weighting != "all":
        assert loss != hardness_weighted_loss(*leaves, **{**options, "weighting": "all"})


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_equals_the_modes_of_sentence_transformers(nano_untouched: SentenceTransformer, weighting: str) -> None:
    """From query to target, which is what it has."""
    columns = [unit(5, 6, seed) for seed in range(4)]
    mode = {"all": "all_negatives", "hard_negatives": "hard_negatives", "in_batch": "in_batch_negatives"}[weighting]
    peer = MultipleNegativesRankingLoss(nano_untouched, scale=5.0, hardness_mode=mode, hardness_strength=4.0)
    loss = hardness_weighted_loss(
        columns[0], torch.cat(columns[1:]), temperature=0.2, alpha=4.0, weighting=weighting, symmetric=False
    )
    assert loss.item() == pytest.approx(peer.compute_loss_from_embeddings(columns, None).item(), rel=1e-10)


def test_the_module_hands_it_on(nano_untouched: SentenceTransformer) -> None:
    columns = [unit(5, 6, seed) for seed in range(3)]
    module = HardnessWeightedLoss(nano_untouched, temperature=0.2, alpha=4.0, weighting="hard_negatives")
    expected = pair_by_pair(columns[0], torch.cat(columns[1:]), 0.2, 4.0, "hard_negatives")
    chunks = [list(column.split(2)) for column in columns]
    assert module.calculate_loss(chunks).item() == pytest.approx(expected.item(), rel=1e-10)
    assert module.get_config_dict()["weighting"] == "hard_negatives"


def test_an_unknown_weighting_is_named() -> None:
    with pytest.raises(ValueError, match="weighting='some' is not one of all, hard_negatives, in_batch"):
        alphas(9.0, "some")  # type: ignore[arg-type]
