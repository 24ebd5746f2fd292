"""The tiled, stored and Triton forms equal the float64 reference: value and every gradient, in every feature."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from llave import hardness_weighted_loss
from llave.losses.functional import IMPLEMENTATIONS, choose_implementation
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


DRAWN: dict[str, st.SearchStrategy[Any]] = {
    "temperature": st.one_of(st.floats(0.02, 2.0), st.sampled_from([0.001, 0.0005])),
    "alpha": st.floats(0.0, 20.0),
    "weighting": st.sampled_from(["all", "hard_negatives", "in_batch"]),
    "positive_margin": st.sampled_from([0.0, 0.0, 0.15, 0.6]),
    "query_ids": st.booleans(),
    "target_ids": st.booleans(),
    "shared_ids": st.booleans(),
    "reward": st.booleans(),
    "symmetric": st.booleans(),
    "slices": st.integers(0, 3),
    "keep": st.sampled_from(["nothing", "scores"]),
    "seed": st.integers(0, 2**31),
}
"""Of a batch and of what is asked of its loss."""


def check(
    device: str,
    *,
    size: int,
    extra: int,
    dim: int,
    temperature: float,
    alpha: float,
    weighting: str,
    positive_margin: float,
    query_ids: bool,
    target_ids: bool,
    shared_ids: bool,
    reward: bool,
    symmetric: bool,
    slices: int,
    keep: str,
    kernels: str,
    tile_side: int,
    seed: int,
) -> None:
    """The tiled form on a device equals the reference on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    query, target = unit(size, dim, seed), unit(size + extra, dim, seed + 1)
    options: dict[str, Any] = {"alpha": alpha, "symmetric": symmetric, "shared_ids": shared_ids}
    options |= {"weighting": weighting, "positive_margin": positive_margin}
    if query_ids:
        options["query_ids"] = torch.randint(0, max(2, size // 2), (size,), generator=generator)
    if target_ids:
        options["target_ids"] = torch.randint(0, max(2, size), (size + extra,), generator=generator)
    if reward:
        options["reward_BB"] = torch.randn(size, size + extra, generator=generator, dtype=torch.float64)
    if slices:
        dims = torch.randperm(dim, generator=generator)[:slices] + 1
        options["matryoshka_dims"] = dims.tolist()
        options["matryoshka_weights"] = torch.rand(len(dims), generator=generator).tolist()
    expected = gradients(query, target, temperature, **options)
    moved = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in options.items()}
    got = gradients(
        query.to(device), target.to(device), temperature, **moved, keep=keep, kernels=kernels, tile_side=tile_side
    )
    # exp(z - log sum) rounds at |z| <= 1/tau, and the gradients multiply that by 1/tau, by tau once more.
    for value, reference, power in zip(got, expected, (1, 2, 2, 3), strict=True):
        atol = 1e-11 + 1e-13 / temperature**power
        assert torch.allclose(value.cpu(), reference, rtol=1e-9, atol=atol), (value, reference)


@settings(max_examples=30, deadline=None)
@given(
    size=st.integers(1, 17),
    extra=st.integers(0, 9),
    dim=st.integers(1, 9),
    kernels=st.sampled_from(["torch", "torch", "triton"]),
    tile_side=st.integers(1, 20),
    **DRAWN,
)
def test_equals_the_reference_in_float64(**drawn: Any) -> None:
    check("cpu", **drawn)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(1, 300),
    extra=st.integers(0, 40),
    dim=st.integers(1, 70),
    kernels=st.sampled_from(["torch", "triton"]),
    tile_side=st.integers(20, 400),
    **DRAWN,
)
def test_equals_the_reference_on_a_gpu(**drawn: Any) -> None:
    check("cuda", **drawn)


def regime(name: str, size: int, dim: int) -> tuple[Tensor, Tensor]:
    """Pairs that are almost solved (loss about 1e-4), or not at all (loss about 10), at tau 0.02 and alpha 9."""
    query = unit(size, dim, 0)
    noise = {"easy": 1.2, "hard": 6.0}[name]
    return query, torch.nn.functional.normalize(query + noise * unit(size, dim, 1), dim=-1)


@pytest.mark.parametrize("name", ["easy", "hard"])
@pytest.mark.parametrize(
    ("dtype", "keep", "kernels", "limit"),
    [
        (torch.float32, "nothing", "torch", 1e-5),
        (torch.float32, "scores", "torch", 1e-5),
        (torch.float32, "scores16", "torch", 2e-3),
        (torch.float32, "nothing", "triton", 1e-5),
        (torch.bfloat16, "nothing", "torch", 5e-3),
        (torch.bfloat16, "scores", "torch", 5e-3),
        (torch.bfloat16, "nothing", "triton", 5e-3),
        (torch.float16, "nothing", "torch", 5e-3),
    ],
)
def test_precision_in_both_regimes(name: str, dtype: torch.dtype, keep: str, kernels: str, limit: float) -> None:
    """Against float64 on the same (rounded) inputs, so that the error is the loss's own."""
    query, target = (value.to(dtype) for value in regime(name, 320, 96))
    expected = gradients(query.double(), target.double(), 0.02, alpha=9.0)
    assert (1e-6 < float(expected[0]) < 1e-2) if name == "easy" else (5 < float(expected[0]) < 20)
    got = gradients(query, target, 0.02, alpha=9.0, keep=keep, kernels=kernels, tile_side=100)
    assert got[1].dtype == dtype
    for value, reference in zip(got, expected, strict=True):
        assert relative_error(value, reference) < limit


@pytest.mark.parametrize("keep", KEEPS)
def test_a_second_backward_is_the_same(keep: str) -> None:
    query, target = unit(6, 4, 0).requires_grad_(), unit(8, 4, 1)
    loss = tiled_loss(query, target, temperature=0.1, alpha=5.0, keep=keep, tile_side=4)  # type: ignore[arg-type]
    (first,) = torch.autograd.grad(loss, query, retain_graph=True)
    (second,) = torch.autograd.grad(3 * loss, query)
    assert torch.allclose(3 * first, second, rtol=1e-12)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
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
    broken = unit(5, 4, 0)  # an extra negative has no product with a positive of its own
    broken[4] = torch.tensor([-torch.inf, 0, 0, 0])
    with pytest.raises(ValueError, match="target embedding 4 is not finite"):
        hardness_weighted_loss(unit(3, 4, 1).abs(), broken, impl=impl)


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
        tiled_loss(query, target, temperature=0.05, alpha=9.0, tile_side=4).backward()
    assert largest == 64 * 8


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("dims", [None, [2, 5, 8]])
def test_the_same_numbers_every_time(impl: str, dims: list[int] | None) -> None:
    """Bit for bit, with torch refusing what is not deterministic."""
    query, target = (value.float().requires_grad_() for value in regime("hard", 50, 8))
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (
            torch.autograd.grad(hardness_weighted_loss(query, target, impl=impl, matryoshka_dims=dims), (query, target))
            for _ in range(2)
        )
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("dims", [None, [4, 8]])
def test_compiles_as_one_graph(dims: list[int] | None) -> None:
    """Traced, ``auto`` is the plain form, without a break (``fullgraph`` raises at one)."""
    query, target = unit(12, 8, 0).requires_grad_(), unit(15, 8, 1).requires_grad_()
    ids = torch.arange(12) // 2
    compiled = torch.compile(hardness_weighted_loss, backend="aot_eager", fullgraph=True)
    for learned in (False, True):
        temperature = torch.tensor(0.05, dtype=torch.float64, requires_grad=learned)
        options: dict[str, Any] = {
            "temperature": temperature if learned else 0.05,
            "query_ids": ids,
            "matryoshka_dims": dims,
        }
        inputs = (query, target, temperature) if learned else (query, target)
        got = torch.autograd.grad(compiled(query, target, **options), inputs)
        expected = torch.autograd.grad(hardness_weighted_loss(query, target, **options), inputs)
        assert all(torch.allclose(one, other) for one, other in zip(got, expected, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"matryoshka_dims": [4, 9]}, "different numbers from 1 to 8"),
        ({"matryoshka_dims": [4, 8], "matryoshka_weights": [1.0]}, "need as many weights"),
        ({"matryoshka_weights": [1.0]}, "need matryoshka_dims"),
    ],
)
def test_bad_slices_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hardness_weighted_loss(unit(3, 8, 0), unit(3, 8, 1), **options)


def test_triton_on_a_cpu_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import llave.losses.triton as module

    monkeypatch.setattr(module, "INTERPRETED", False)
    with pytest.raises(ValueError, match="on a CPU use 'tiled'"):
        hardness_weighted_loss(unit(3, 8, 0), unit(3, 8, 1), impl="triton")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["easy", "hard"])
@pytest.mark.parametrize("kernels", ["torch", "triton"])
@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-3), (torch.float16, 5e-3), (torch.float64, 1e-9)]
)
def test_precision_on_a_gpu(name: str, kernels: str, dtype: torch.dtype, limit: float) -> None:
    query, target = (value.to("cuda", dtype) for value in regime(name, 1000, 96))
    ids = torch.arange(1000, device="cuda") // 3
    options: dict[str, Any] = {"alpha": 9.0, "query_ids": ids, "target_ids": ids}
    expected = gradients(query.double(), target.double(), 0.02, **options)
    got = gradients(query, target, 0.02, **options, keep="nothing", kernels=kernels, tile_side=300)
    for value, reference in zip(got, expected, strict=True):
        assert relative_error(value, reference) < limit


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("impl", ["auto", "tiled", "triton"])
def test_large_batches_on_a_gpu_take_little_memory_and_give_the_same_bits(
    impl: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it torch refuses every product in this mode
    size = 40_000  # a matrix of all scores would take 6.4 GB
    query, target = (value.to("cuda", torch.bfloat16).requires_grad_() for value in regime("hard", size, 64))
    torch.use_deterministic_algorithms(True)
    try:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        first, second = (
            torch.autograd.grad(hardness_weighted_loss(query, target, impl=impl), (query, target)) for _ in range(2)
        )
        assert torch.cuda.max_memory_allocated() - before < 1 << 30
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_auto_follows_the_free_memory() -> None:
    assert choose_implementation(64, 64, torch.device("cpu")) == "reference"
    assert choose_implementation(512, 512, torch.device("cpu")) == "stored"
    assert choose_implementation(10_000_000, 10_000_000, torch.device("cpu")) == "tiled"


def test_needs_torch_alone() -> None:
    import subprocess
    import sys

    script = (
        "import sys; from llave.losses.functional import hardness_weighted_loss\n"
        "assert not {'transformers', 'sentence_transformers', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
