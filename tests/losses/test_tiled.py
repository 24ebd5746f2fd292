"""The tiled and the stored form equal the float64 reference: value and every gradient, in every feature."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from llave import hardness_weighted_loss
from llave.losses.functional import choose_implementation
from llave.losses.tiled import tiled_loss

KEEPS = ["nothing", "scores", "scores16"]


def unit(rows: int, dim: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(rows, dim, generator=generator, dtype=torch.float64), dim=-1)


def gradients(query: Tensor, target: Tensor, temperature: float, **options: Any) -> tuple[Tensor, ...]:
    """Loss and gradients of query, target and temperature; ``keep`` asks for the tiled function itself."""
    query, target = query.clone().requires_grad_(), target.clone().requires_grad_()
    tau = torch.tensor(temperature, dtype=torch.promote_types(query.dtype, torch.float32), requires_grad=True)
    if "keep" in options:
        options["reward_AC"] = options.pop("reward_BB", None)
        loss = tiled_loss(query, target, temperature=tau, **options)
    else:
        loss = hardness_weighted_loss(query, target, temperature=tau, impl="reference", **options)
    loss.backward()
    assert query.grad is not None
    assert target.grad is not None
    assert tau.grad is not None
    return loss.detach(), query.grad, target.grad, tau.grad


def relative_error(value: Tensor, expected: Tensor) -> float:
    return float((value.double() - expected).norm() / expected.norm().clamp_min(1e-30))


@settings(max_examples=150, deadline=None)
@given(
    size=st.integers(1, 17),
    extra=st.integers(0, 9),
    dim=st.integers(1, 9),
    temperature=st.one_of(st.floats(0.02, 2.0), st.sampled_from([0.001, 0.0005])),
    alpha=st.floats(0.0, 20.0),
    query_ids=st.booleans(),
    target_ids=st.booleans(),
    reward=st.booleans(),
    symmetric=st.booleans(),
    keep=st.sampled_from(["nothing", "scores"]),
    tile_rows=st.integers(1, 20),
    seed=st.integers(0, 2**31),
)
def test_equals_the_reference_in_float64(
    size: int,
    extra: int,
    dim: int,
    temperature: float,
    alpha: float,
    query_ids: bool,
    target_ids: bool,
    reward: bool,
    symmetric: bool,
    keep: str,
    tile_rows: int,
    seed: int,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    query, target = unit(size, dim, seed), unit(size + extra, dim, seed + 1)
    options: dict[str, Any] = {"alpha": alpha, "symmetric": symmetric}
    if query_ids:
        options["query_ids"] = torch.randint(0, max(2, size // 2), (size,), generator=generator)
    if target_ids:
        options["target_ids"] = torch.randint(0, max(2, size), (size + extra,), generator=generator)
    if reward:
        options["reward_BB"] = torch.randn(size, size + extra, generator=generator, dtype=torch.float64)
    expected = gradients(query, target, temperature, **options)
    got = gradients(query, target, temperature, **options, keep=keep, tile_rows=tile_rows)
    for value, reference in zip(got, expected, strict=True):
        assert torch.allclose(value, reference, rtol=1e-9, atol=1e-11 / temperature), (value, reference)


def regime(name: str, size: int, dim: int) -> tuple[Tensor, Tensor]:
    """Pairs that are almost solved (loss about 1e-4), or not at all (loss about 10), at tau 0.02 and alpha 9."""
    query = unit(size, dim, 0)
    noise = {"easy": 1.2, "hard": 6.0}[name]
    return query, torch.nn.functional.normalize(query + noise * unit(size, dim, 1), dim=-1)


@pytest.mark.parametrize("name", ["easy", "hard"])
@pytest.mark.parametrize(
    ("dtype", "keep", "limit"),
    [
        (torch.float32, "nothing", 1e-5),
        (torch.float32, "scores", 1e-5),
        (torch.float32, "scores16", 2e-3),
        (torch.bfloat16, "nothing", 5e-3),
        (torch.bfloat16, "scores", 5e-3),
        (torch.float16, "nothing", 5e-3),
    ],
)
def test_precision_in_both_regimes(name: str, dtype: torch.dtype, keep: str, limit: float) -> None:
    """Against float64 on the same (rounded) inputs, so that the error is the loss's own."""
    query, target = (value.to(dtype) for value in regime(name, 320, 96))
    expected = gradients(query.double(), target.double(), 0.02, alpha=9.0)
    assert (1e-6 < float(expected[0]) < 1e-2) if name == "easy" else (5 < float(expected[0]) < 20)
    got = gradients(query, target, 0.02, alpha=9.0, keep=keep, tile_rows=100)
    assert got[1].dtype == dtype
    for value, reference in zip(got, expected, strict=True):
        assert relative_error(value, reference) < limit


@pytest.mark.parametrize("keep", KEEPS)
def test_a_second_backward_is_the_same(keep: str) -> None:
    query, target = unit(6, 4, 0).requires_grad_(), unit(8, 4, 1)
    loss = tiled_loss(query, target, temperature=0.1, alpha=5.0, keep=keep, tile_rows=4)  # type: ignore[arg-type]
    (first,) = torch.autograd.grad(loss, query, retain_graph=True)
    (second,) = torch.autograd.grad(3 * loss, query)
    assert torch.allclose(3 * first, second, rtol=1e-12)


@pytest.mark.parametrize("impl", ["tiled", "stored", "auto"])
def test_rows_without_negatives_and_bad_numbers(impl: str) -> None:
    query = unit(3, 4, 0).requires_grad_()
    loss = hardness_weighted_loss(query, unit(3, 4, 1), target_ids=torch.zeros(3, dtype=torch.long), impl=impl)
    loss.backward()
    assert loss.item() == 0
    assert query.grad is not None
    assert torch.equal(query.grad, torch.zeros(3, 4, dtype=torch.float64))
    broken = unit(3, 4, 0)
    broken[2, 1] = torch.nan
    with pytest.raises(ValueError, match="query embedding 2 is not finite"):
        hardness_weighted_loss(broken, unit(3, 4, 1), impl=impl)


def test_no_matrix_of_all_scores_is_made() -> None:
    """The largest tensor of a tiled run is a tile, forward and backward."""
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self, function: Any, types: Any, arguments: Any = (), options: dict[str, Any] | None = None
        ) -> Any:
            nonlocal largest
            result = function(*arguments, **(options or {}))
            if isinstance(result, Tensor):
                largest = max(largest, result.numel())
            return result

    query, target = unit(64, 8, 0).requires_grad_(), unit(64, 8, 1).requires_grad_()
    with Watch():
        tiled_loss(query, target, temperature=0.05, alpha=9.0, tile_rows=4).backward()
    assert largest == 64 * 8


def test_auto_follows_the_free_memory() -> None:
    assert choose_implementation(64, 64, torch.device("cpu")) == "stored"
    assert choose_implementation(10_000_000, 10_000_000, torch.device("cpu")) == "tiled"


def test_needs_torch_alone() -> None:
    import subprocess
    import sys

    script = (
        "import sys; from llave.losses.functional import hardness_weighted_loss\n"
        "assert not {'transformers', 'sentence_transformers', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
