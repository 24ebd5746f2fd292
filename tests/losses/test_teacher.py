"""What a teacher leaves out, pair by pair, in every form of the loss and over processes."""

from typing import Any, cast

import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from llave import HardnessWeightedLoss, hardness_weighted_loss
from llave.losses.distill import distillation_loss
from llave.losses.functional import IMPLEMENTATIONS
from llave.losses.reward import MaskedReward
from llave.losses.teacher import TeacherVectors
from tests.gloo import in_processes

WORLD, PAIRS = 2, 4
NO_MODEL = cast(SentenceTransformer, nn.Identity())


def unit(rows: int, dim: int, seed: int) -> Tensor:
    value = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return nn.functional.normalize(value, dim=-1)


def columns() -> list[Tensor]:
    """Queries, positives and hard negatives of all processes."""
    return [unit(WORLD * PAIRS, 5, seed) for seed in range(3)]


LABELS = torch.stack([torch.arange(start, start + WORLD * PAIRS) for start in (10, 30, 50)], dim=1)


def teacher() -> TeacherVectors:
    """Of another width and in another order; one target has no vector, one is not known at all."""
    query_QE, target_TE = unit(WORLD * PAIRS, 3, 7), unit(2 * WORLD * PAIRS, 3, 8)
    target_TE[5] = torch.nan
    ids = torch.cat([LABELS[:, 1], LABELS[:, 2]])
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(9))
    order = order[order != 2]
    return TeacherVectors(LABELS[:, 0], query_QE.float(), ids[order], target_TE.float()[order])


def pair_by_pair(margin: float, alpha: float) -> tuple[Tensor, list[Tensor], int]:
    """The loss as nested loops, its leaves, and how many pairs do not count."""
    leaves = [column.requires_grad_() for column in columns()]
    query, target = leaves[0], torch.cat(leaves[1:])
    query_QE, target_TE = unit(len(query), 3, 7), unit(len(target), 3, 8)
    unknown = {2, 5}

    def negative(i: int, j: int) -> Tensor:
        limit = query_QE[i] @ target_TE[i] - margin
        if i not in unknown and j not in unknown and query_QE[i] @ target_TE[j] > limit:
            counted.add((i, j))
            return torch.zeros((), dtype=torch.float64)
        cosine = query[i] @ target[j]
        return (cosine / 0.2 + alpha * cosine.detach()).exp()

    counted: set[tuple[int, int]] = set()
    terms = []
    for i in range(len(query)):
        positive = (query[i] @ target[i] / 0.2).exp()
        row = torch.stack([negative(i, j) for j in range(len(target)) if j != i]).sum()
        column = torch.stack([negative(j, i) for j in range(len(query)) if j != i]).sum()
        terms += [torch.log1p(row / positive), torch.log1p(column / positive)]
    return torch.stack(terms).mean(), leaves, len(counted)


def along(loss: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    """Gradients along the sphere, for the module normalises."""
    gradients = torch.autograd.grad(loss, leaves)
    return [
        (grad - (grad * leaf).sum(1, keepdim=True) * leaf).detach()
        for grad, leaf in zip(gradients, leaves, strict=True)
    ]


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize(("margin", "alpha"), [(0.0, 0.0), (0.3, 4.0), (-0.5, 4.0)])
def test_value_and_gradient_are_those_of_the_formula(margin: float, alpha: float, impl: str) -> None:
    expected, leaves, number = pair_by_pair(margin, alpha)
    loss = HardnessWeightedLoss(
        NO_MODEL, temperature=0.2, alpha=alpha, teacher=teacher(), teacher_margin=margin, impl=impl
    )
    found = loss.calculate_loss([list(column.split(3)) for column in leaves], LABELS)  # as GradCache hands them in
    assert found.item() == pytest.approx(expected.item(), rel=1e-10)
    for one, other in zip(torch.autograd.grad(found, leaves), along(expected, leaves), strict=True):
        assert torch.allclose(one, other, rtol=1e-8, atol=1e-11)
    assert 5 < number < 100
    assert loss.last_similarity()["left_out"] == pytest.approx(number / (len(LABELS) * 2 * len(LABELS)), rel=1e-5)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("weighting", ["all", "hard_negatives"])
@pytest.mark.parametrize("alpha", [0.0, 1e-4, 9.0])
def test_a_pair_left_out_is_out_whatever_alpha(alpha: float, weighting: str, impl: str) -> None:
    query, target = unit(4, 5, 0), unit(8, 5, 1)
    out = torch.zeros(4, 8, dtype=torch.bool)
    out[0, 2] = out[3, 7] = out[1, 6] = True
    reward = (query @ target.T).masked_fill(out, -1e4)
    options: dict[str, Any] = {"temperature": 0.2, "alpha": alpha, "weighting": weighting, "impl": impl}
    loss = hardness_weighted_loss(query, target, reward_BB=reward, **options)
    own = torch.tensor([[column >= 4 and column % 4 == row for column in range(8)] for row in range(4)])
    applies = (own if weighting == "hard_negatives" else torch.ones_like(own)).double()
    z = (query @ target.T) * (5.0 + alpha * applies)
    positive = (query * target[:4]).sum(1) * 5.0
    z = z.masked_fill(out | torch.eye(4, 8, dtype=torch.bool), -torch.inf)
    by_hand = torch.stack([torch.log1p((part - positive).exp()) for part in (z.logsumexp(1), z[:, :4].logsumexp(0))])
    assert loss.item() == pytest.approx(by_hand.mean().item(), rel=1e-10)


def test_it_goes_together_with_a_reward_and_needs_ids() -> None:
    parts = [[column] for column in columns()]
    options: dict[str, Any] = {"temperature": 0.2, "alpha": 4.0, "teacher": teacher()}
    alone = HardnessWeightedLoss(NO_MODEL, **options).calculate_loss(parts, LABELS)
    both = HardnessWeightedLoss(NO_MODEL, reward=MaskedReward(0.1), **options).calculate_loss(parts, LABELS)
    assert both < alone
    for labels in (None, LABELS[:, 0]):
        with pytest.raises(ValueError, match=r"one id per column"):
            HardnessWeightedLoss(NO_MODEL, **options).calculate_loss(parts, labels)


def divergence(query: Tensor, target: Tensor, ids: list[int]) -> Tensor:
    """Distillation row by row from :func:`teacher`; ``ids`` of the targets."""
    query_QE, target_TE = unit(len(query), 3, 7), unit(len(target), 3, 8)
    rows = []
    for i in range(len(query)):
        seen = [j for j in range(len(target)) if j not in {2, 5} and (i == j or ids[i] != ids[j])]
        student = (query[i] @ target[seen].T / 0.2).log_softmax(0)
        share = (query_QE[i] @ target_TE[seen].T / 0.3).softmax(0)
        rows.append((share * (share.log() - student)).sum())
    return torch.stack(rows).mean()


@pytest.mark.parametrize("known", [False, True])
def test_distillation_is_its_formula(known: bool) -> None:
    """Known positives do not count, nor what the teacher has no score of."""
    parts = [column.requires_grad_() for column in columns()]
    target = torch.cat(parts[1:])
    ids = torch.arange(len(target)) // (2 if known else 1)
    scores = unit(len(parts[0]), 3, 7) @ unit(len(target), 3, 8).T
    scores[:, [2, 5]] = torch.nan
    loss = distillation_loss(parts[0], target, scores, temperature=0.2, teacher_temperature=0.3, target_ids=ids)
    expected = divergence(parts[0], target, ids.tolist())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-10)
    for one, other in zip(torch.autograd.grad(loss, parts), torch.autograd.grad(expected, parts), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


DISTILL: dict[str, Any] = {"distill_weight": 0.7, "distill_temperature": 0.3}


def test_the_module_adds_it() -> None:
    parts = [[column] for column in columns()]
    options: dict[str, Any] = {"temperature": 0.2, "teacher": teacher(), "teacher_margin": None}
    alone = HardnessWeightedLoss(NO_MODEL, **options).calculate_loss(parts, LABELS)
    both = HardnessWeightedLoss(NO_MODEL, **options, **DISTILL).calculate_loss(parts, LABELS)
    added = divergence(columns()[0], torch.cat(columns()[1:]), list(range(16)))
    assert (both - alone).item() == pytest.approx(0.7 * added.item(), rel=1e-5)
    with pytest.raises(ValueError, match="distillation needs a teacher"):
        HardnessWeightedLoss(NO_MODEL, **DISTILL)


def _rank(rank: int) -> list[Any]:
    share = slice(rank * PAIRS, rank * PAIRS + PAIRS)
    results = []
    for impl in ("reference", "tiled", "triton"):
        leaves = [column[share].clone().requires_grad_() for column in columns()]
        loss = HardnessWeightedLoss(
            NO_MODEL, temperature=0.2, alpha=4.0, teacher=teacher(), teacher_margin=0.3, impl=impl, **DISTILL
        )
        value = loss.calculate_loss([[column] for column in leaves], LABELS[share])
        (value / WORLD).backward()
        results.append((value.detach(), *(leaf.grad for leaf in leaves)))
    return results


@pytest.mark.slow
def test_two_processes_equal_one() -> None:
    ranks = in_processes(_rank)
    expected, leaves, _ = pair_by_pair(0.3, 4.0)
    expected = expected + 0.7 * divergence(leaves[0], torch.cat(leaves[1:]), list(range(16)))
    gradients = along(expected, leaves)
    for results in zip(*ranks, strict=True):
        assert sum(result[0].item() for result in results) / WORLD == pytest.approx(expected.item(), rel=1e-7)
        for place, gradient in enumerate(gradients, start=1):
            found = torch.cat([result[place] for result in results])
            assert torch.allclose(found, gradient, rtol=1e-6, atol=1e-8)
