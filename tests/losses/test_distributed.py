"""Two processes under gloo equal one on the concatenated batch, in every feature of the tiled loss, in float64."""

import itertools
from typing import Any

import pytest
import torch
from sentence_transformers.util import all_gather_with_grad
from torch import Tensor

from llave import hardness_weighted_loss
from llave.losses.tiled import tiled_loss
from tests.gloo import in_processes

WORLD, PAIRS, EXTRA, DIM = 2, 5, 3, 8  # pairs and extra negatives of a process


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Queries, positives and extra negatives of all processes."""
    generator = torch.Generator().manual_seed(0)

    def unit(rows: int) -> Tensor:
        value = torch.randn(rows, DIM, generator=generator, dtype=torch.float64)
        return torch.nn.functional.normalize(value, dim=-1)

    return unit(WORLD * PAIRS), unit(WORLD * PAIRS), unit(WORLD * EXTRA)


def cases() -> list[dict[str, Any]]:
    """Bounded sums and running maxima, plain and with everything else."""
    generator = torch.Generator().manual_seed(1)
    targets = WORLD * (PAIRS + EXTRA)
    rich = {
        "query_ids": torch.randint(0, 6, (WORLD * PAIRS,), generator=generator),
        "target_ids": torch.randint(0, 9, (targets,), generator=generator),
        "reward": torch.randn(WORLD * PAIRS, targets, generator=generator, dtype=torch.float64),
        "matryoshka_dims": [3, DIM],
        "positive_margin": 0.2,
    }
    return [
        {"temperature": temperature, "symmetric": symmetric, **options}
        for temperature, symmetric, options in itertools.product(
            (0.1, 0.001),
            (True, False),
            ({}, {"weighting": "in_batch"}, rich, {**rich, "shared_ids": True, "weighting": "hard_negatives"}),
        )
    ]


def _rank(rank: int) -> list[Any]:
    pairs, extra = slice(rank * PAIRS, rank * PAIRS + PAIRS), slice(rank * EXTRA, rank * EXTRA + EXTRA)
    results = []
    for case in cases():
        reward = case.pop("reward", None)
        query, positive, negative = inputs()
        local = [query[pairs], positive[pairs], negative[extra]]
        local = [value.clone().requires_grad_() for value in local]
        loss = tiled_loss(
            local[0],
            torch.cat([all_gather_with_grad(local[1]), all_gather_with_grad(local[2])]),
            alpha=4.0,
            offset=rank * PAIRS,
            num_pairs=WORLD * PAIRS,
            reward_AC=None if reward is None else reward[pairs],
            tile_side=3,
            distributed=True,
            **case,
        )
        (loss / WORLD).backward()
        results.append([loss.detach(), *(value.grad for value in local)])
    return results


@pytest.mark.slow
def test_two_processes_equal_one_in_every_feature() -> None:
    ranks = in_processes(_rank)
    for number, case in enumerate(cases()):
        query, positive, negative = (value.requires_grad_() for value in inputs())
        case["reward_BB"] = case.pop("reward", None)
        target = torch.cat([positive, negative])
        loss = hardness_weighted_loss(query, target, alpha=4.0, impl="reference", **case)
        loss.backward()
        found = [result[number] for result in ranks]
        assert torch.allclose(sum(part[0] for part in found) / WORLD, loss, rtol=1e-10)
        for place, value in enumerate((query, positive, negative), start=1):
            gradient = torch.cat([part[place] for part in found])
            assert torch.allclose(gradient, value.grad, rtol=1e-9, atol=1e-11 + 1e-13 / case["temperature"] ** 2)
