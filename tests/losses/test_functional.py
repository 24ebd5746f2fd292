"""The pure loss: golden values, gradients, masks, tiny losses."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from llave import hardness_weighted_loss
from llave.losses.functional import IMPLEMENTATIONS


def unit(rows: list[list[float]]) -> Tensor:
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float64), dim=-1)


QUERY = unit([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
TARGET = unit([[1, 0.1, 0], [0, 1, 0.2], [0.3, 0, 1], [1, 0.8, 0.1]])


def slow_loss(
    query: Tensor, target: Tensor, temperature: float, alpha: float, same: list[list[bool]] | None = None
) -> float:
    """The formula of the paper, in both directions, one pair at a time, in Python's floats."""
    q, t = query.tolist(), target.tolist()
    size = len(q)

    def cosine(i: int, j: int) -> float:
        return sum(a * b for a, b in zip(q[i], t[j], strict=True))

    total = 0.0
    for i in range(size):
        positive = math.exp(cosine(i, i) / temperature)
        row = sum(
            math.exp(cosine(i, j) / temperature + alpha * cosine(i, j))
            for j in range(len(t))
            if j != i and not (same and same[i][j])
        )
        column = sum(
            math.exp(cosine(j, i) / temperature + alpha * cosine(j, i))
            for j in range(size)
            if j != i and not (same and same[j][i])
        )
        total += math.log1p(row / positive) + math.log1p(column / positive)
    return total / (2 * size)


@pytest.mark.parametrize(
    ("scale", "alpha", "loss", "gradient"),
    [
        (50, 0.0, 0.0000100735, 0.00021100),
        (50, 0.5, 0.0000148449, 0.00031147),
        (50, 9.0, 0.0107340790, 0.22741075),
        (5, 0.0, 0.2506650518, 0.28441875),
        (5, 0.5, 0.3316564106, 0.35425097),
        (5, 9.0, 4.1614674844, 1.25971186),
    ],
)
@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_golden_values(scale: float, alpha: float, loss: float, gradient: float, impl: str) -> None:
    query = QUERY.clone().requires_grad_()
    value = hardness_weighted_loss(query, TARGET, temperature=1 / scale, alpha=alpha, impl=impl)
    value.backward()
    assert query.grad is not None
    assert value.item() == pytest.approx(loss, abs=5e-11)
    assert query.grad.norm().item() == pytest.approx(gradient, abs=5e-9)


def test_gradcheck() -> None:
    """Without the stop-gradient term autograd's gradient is the numerical one."""
    query, target = QUERY.clone().requires_grad_(), torch.cat([TARGET, QUERY[:2]]).requires_grad_()
    reward = QUERY @ target.detach().T

    def loss(q: Tensor, t: Tensor) -> Tensor:
        return hardness_weighted_loss(q, t, temperature=0.3, alpha=2.0, reward_BB=reward)

    assert torch.autograd.gradcheck(loss, (query, target))


def test_reward_has_no_gradient() -> None:
    reward = (QUERY @ TARGET.T).requires_grad_()
    query = QUERY.clone().requires_grad_()
    hardness_weighted_loss(query, TARGET, reward_BB=reward).backward()
    assert reward.grad is None
    own = QUERY.clone().requires_grad_()
    hardness_weighted_loss(own, TARGET).backward()
    assert torch.allclose(own.grad, query.grad, rtol=1e-12)


def test_hardness_weights_the_gradient_of_each_negative() -> None:
    """Eq. 6: a negative's gradient is its share of the weighted denominator."""
    temperature, alpha = 0.2, 3.0
    target = TARGET.clone().requires_grad_()
    hardness_weighted_loss(QUERY, target, temperature=temperature, alpha=alpha, symmetric=False).backward()
    cosine = QUERY @ TARGET.T
    weight = torch.exp(cosine / temperature + alpha * cosine)
    weight.fill_diagonal_(0)
    positive = torch.exp(cosine.diagonal() / temperature)
    share = weight / (weight.sum(1) + positive)[:, None]
    share -= torch.diag(share.sum(1))
    assert torch.allclose(target.grad, share.T @ QUERY / (temperature * 4), atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 9),
    extra=st.integers(0, 5),
    dim=st.integers(1, 7),
    temperature=st.floats(0.05, 2.0),
    alpha=st.floats(0.0, 9.0),
    masked=st.booleans(),
    shared=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_equals_the_slow_formula(
    size: int, extra: int, dim: int, temperature: float, alpha: float, masked: bool, shared: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    query = torch.nn.functional.normalize(torch.randn(size, dim, generator=generator, dtype=torch.float64), dim=-1)
    target = torch.nn.functional.normalize(
        torch.randn(size + extra, dim, generator=generator, dtype=torch.float64), dim=-1
    )
    query_ids = torch.randint(0, 4, (size,), generator=generator)
    target_ids = torch.randint(0, 4, (size + extra,), generator=generator)
    same = None
    if masked:
        same = [
            [
                bool(target_ids[i] == target_ids[j])
                or (j < size and bool(query_ids[i] == query_ids[j]))
                or (shared and bool(query_ids[i] == target_ids[j]))
                for j in range(size + extra)
            ]
            for i in range(size)
        ]
    value = hardness_weighted_loss(
        query,
        target,
        temperature=temperature,
        alpha=alpha,
        query_ids=query_ids if masked else None,
        target_ids=target_ids if masked else None,
        shared_ids=shared,
    )
    assert value.item() == pytest.approx(slow_loss(query, target, temperature, alpha, same), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_a_tiny_loss_keeps_its_gradient_in_float32(impl: str) -> None:
    """Positives at 1, negatives at -1: exp(-100) is far below float32's epsilon, and must not be lost."""
    query = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    target = query.detach().clone().requires_grad_()
    loss = hardness_weighted_loss(query, target, temperature=0.05, alpha=0.0, impl=impl)
    loss.backward()
    assert loss.item() == pytest.approx(math.exp(-40), rel=1e-4)
    assert query.grad.abs().max().item() == pytest.approx(2 * math.exp(-40) / 0.05 / 2, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_inputs_are_computed_in_float32(dtype: torch.dtype) -> None:
    query, target = QUERY.to(dtype).requires_grad_(), TARGET.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = hardness_weighted_loss(query, target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(hardness_weighted_loss(query.double(), target.double()).item(), rel=1e-4)
    loss.backward()
    assert query.grad.dtype == dtype


def test_known_positives_are_no_negatives() -> None:
    """Two queries with one label: masked, the loss is that of the other pairs alone."""
    query, target = QUERY[[0, 1, 0]], TARGET[[0, 1, 0]]
    ids = torch.tensor([7, 8, 7])
    masked = hardness_weighted_loss(query, target, temperature=0.2, target_ids=ids)
    assert masked < hardness_weighted_loss(query, target, temperature=0.2)
    everything = hardness_weighted_loss(query, target, target_ids=torch.zeros(3, dtype=torch.long))
    assert everything.item() == 0.0
    by_query = hardness_weighted_loss(query, target, temperature=0.2, query_ids=ids)
    assert by_query.item() == pytest.approx(masked.item())


@pytest.mark.parametrize("impl", ["reference", "tiled", "stored"])
def test_a_target_that_is_a_query_itself_is_no_negative_of_it(impl: str) -> None:
    """Row 1's target is row 0's query, as in paraphrases: its cosine is 1, and alpha would weigh it most."""
    query, target = QUERY.clone(), TARGET.clone()
    target[1] = query[0]
    ids = {"query_ids": torch.tensor([5, 6, 7, 1]), "target_ids": torch.tensor([8, 5, 9, 2])}
    apart = hardness_weighted_loss(query, target, temperature=0.2, impl=impl, **ids)
    together = hardness_weighted_loss(query, target, temperature=0.2, impl=impl, shared_ids=True, **ids)
    same = [[False, True, False, False], *([[False] * 4] * 3)]
    assert together.item() == pytest.approx(slow_loss(query, target, 0.2, 9.0, same), rel=1e-5)
    assert together < apart
    free = query.requires_grad_()
    (gradient,) = torch.autograd.grad(
        hardness_weighted_loss(free, target, temperature=0.2, impl=impl, shared_ids=True, **ids), free
    )
    moved = target.clone()
    moved[1] = -moved[1]  # what query 0 learns does not depend on where its own content stands
    (other,) = torch.autograd.grad(
        hardness_weighted_loss(free, moved, temperature=0.2, impl=impl, shared_ids=True, **ids), free
    )
    assert torch.allclose(gradient[0], other[0], atol=1e-6)


def test_a_batch_without_negatives_has_a_zero_gradient() -> None:
    query = QUERY[:1].clone().requires_grad_()
    hardness_weighted_loss(query, TARGET[:1]).backward()
    assert torch.equal(query.grad, torch.zeros_like(query))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"alpha": -1.0}, "alpha"),
        ({"impl": "magic"}, "impl='magic' is not one of auto, reference"),
        ({"query_ids": torch.zeros(3)}, "query_ids must have shape"),
        ({"reward_BB": torch.zeros(4, 5)}, "reward_BB must have shape"),
    ],
)
def test_bad_options_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hardness_weighted_loss(QUERY, TARGET, **arguments)  # type: ignore[arg-type]


def test_bad_values_are_named_by_row() -> None:
    broken = QUERY.clone()
    broken[2, 1] = float("nan")
    with pytest.raises(ValueError, match="query embedding 2 is not finite"):
        hardness_weighted_loss(broken, TARGET)
    with pytest.raises(ValueError, match="4 queries and 3 targets"):
        hardness_weighted_loss(QUERY, TARGET[:3])
