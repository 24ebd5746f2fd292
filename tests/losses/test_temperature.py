"""A learned temperature: its gradient in every form, over processes, and its bounds."""

import itertools
from typing import Any, cast

import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from llave import HardnessWeightedLoss, hardness_weighted_loss
from llave.losses.bounds import LEARNED_TEMPERATURE
from llave.losses.functional import IMPLEMENTATIONS
from llave.losses.temperature import LearnedTemperature
from tests.gloo import in_processes

WORLD, PAIRS, DIM = 2, 3, 5


class Lookup(torch.nn.Module):
    """A model whose embeddings are its parameters; rows are named by their numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(18, DIM, dtype=torch.float64, generator=generator(0)))

    def __getitem__(self, place: int) -> object:
        return object()

    def forward(self, features: dict[str, Any]) -> dict[str, Tensor]:
        return {"sentence_embedding": self.table[features["rows"]]}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def columns(rows: slice = slice(None)) -> list[dict[str, Any]]:
    return [{"rows": torch.arange(start, start + 6)[rows]} for start in (0, 6, 12)]


def module(model: Lookup, **options: Any) -> HardnessWeightedLoss:
    temperature = LearnedTemperature(0.3, ["a", "b"])
    temperature.current = 1
    options = {"alpha": 4.0, "positive_margin": 0.2, "weighting": "hard_negatives", **options}
    return HardnessWeightedLoss(cast(SentenceTransformer, model), temperature=temperature, **options)


def expected() -> tuple[Tensor, Tensor, Tensor]:
    """Loss of the plain form, and its gradients by the table and by the logarithm of the temperature."""
    model, log = Lookup(), torch.tensor(0.3).log().double().requires_grad_()
    query, *targets = (torch.nn.functional.normalize(model.table[part["rows"]], dim=-1) for part in columns())
    loss = hardness_weighted_loss(
        query,
        torch.cat(targets),
        temperature=log.exp(),
        alpha=4.0,
        positive_margin=0.2,
        weighting="hard_negatives",
        impl="reference",
    )
    return loss.detach(), *torch.autograd.grad(loss, (model.table, log))


def of(loss: HardnessWeightedLoss) -> tuple[Tensor, Tensor]:
    assert isinstance(loss.temperature, LearnedTemperature)
    table, log_K = loss.model.table.grad, loss.temperature.log_K.grad
    assert isinstance(table, Tensor)
    assert log_K is not None
    assert log_K[0] == 0  # of another data set
    return table, log_K[1].double()


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("mini_batch_size", [None, 1, 4])
def test_its_gradient_is_that_of_the_formula(impl: str, mini_batch_size: int | None) -> None:
    """Scaled by what comes after the loss, as an accumulated step does."""
    loss = module(Lookup(), impl=impl, mini_batch_size=mini_batch_size)
    value, by_table, by_log = expected()
    for times in (1, 2):  # gradients add up over batches
        found = loss(columns())
        (found / 4).backward()
        assert found.item() == pytest.approx(value.item(), rel=1e-6)
        for one, other in zip(of(loss), (by_table, by_log), strict=True):
            assert torch.allclose(one, other * times / 4, rtol=1e-5, atol=1e-8)


def cases() -> list[dict[str, Any]]:
    """What two processes are tried with."""
    return [
        {"impl": impl, "mini_batch_size": size}
        for impl, size in itertools.product(("reference", "tiled", "triton"), (None, 2))
    ]


def _rank(rank: int) -> list[Any]:
    results = []
    for options in cases():
        loss = module(Lookup(), **options)
        value = loss(columns(slice(rank * PAIRS, rank * PAIRS + PAIRS)))
        (value / WORLD).backward()  # the mean over ranks, which DDP takes of a model's gradients
        results.append((value.detach(), *of(loss)))
    return results


@pytest.mark.slow
def test_two_processes_equal_one() -> None:
    """Each has the whole gradient by the temperature, and its share of the one by the table."""
    ranks = in_processes(_rank)
    value, by_table, by_log = expected()
    for number, _ in enumerate(cases()):
        found = [rank[number] for rank in ranks]
        assert sum(one[0].item() for one in found) / WORLD == pytest.approx(value.item(), rel=1e-6)
        assert torch.allclose(sum(one[1] for one in found), by_table, rtol=1e-5, atol=1e-8)
        for one in found:
            assert one[2].item() == pytest.approx(by_log.item() / WORLD, rel=1e-5)


def test_it_stays_within_its_bounds_and_comes_back() -> None:
    temperature = LearnedTemperature(0.02)
    optimizer = torch.optim.SGD(temperature.parameters(), lr=10.0)
    for sign, bound in ((1, LEARNED_TEMPERATURE[0]), (-1, LEARNED_TEMPERATURE[1]), (1, LEARNED_TEMPERATURE[0])):
        optimizer.zero_grad()
        (sign * 100 * temperature()).backward()
        optimizer.step()
        assert list(temperature.values().values()) == pytest.approx([bound])
        assert temperature().item() == pytest.approx(bound)
    with pytest.raises(ValueError, match=r"must start between 0.01 and 1.0, got 0.001"):
        LearnedTemperature(0.001)
