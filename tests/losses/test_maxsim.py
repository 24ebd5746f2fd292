"""MaxSim: against numpy, sentence-transformers and the float64 reference; its memory by the shapes it makes."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers.multi_vector_encoder.scoring import colbert_scores, mean_colbert_scores
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from llave.losses import maxsim as module
from llave.losses.maxsim import Reduce, maxsim

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def batch(N: int, T: int, M: int, S: int, D: int = 5, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def side(rows: int, tokens: int) -> tuple[Tensor, Tensor]:
        value = torch.randn((rows, tokens, D), generator=generator, dtype=dtype)
        mask = torch.rand((rows, tokens), generator=generator) < 0.7
        mask[torch.arange(rows), torch.randint(tokens, (rows,), generator=generator)] = True
        return torch.nn.functional.normalize(value, dim=-1), mask

    return *side(N, T), *side(M, S)


def by_numpy(query: Tensor, query_mask: Tensor, document: Tensor, document_mask: Tensor) -> np.ndarray[Any, Any]:
    return np.array(
        [
            [
                np.mean([max(float(q @ d) for d in document[m][document_mask[m]].numpy()) for q in tokens.numpy()])
                for m in range(len(document))
            ]
            for tokens in (query[n][query_mask[n]] for n in range(len(query)))
        ]
    )


@pytest.mark.parametrize("impl", ["reference", "tiled"])
def test_as_numpy(impl: Any) -> None:
    given = batch(3, 4, 5, 6)
    np.testing.assert_allclose(maxsim(*given, impl=impl).numpy(), by_numpy(*given), rtol=1e-12)


@pytest.mark.parametrize(("reduce", "theirs"), [("sum", colbert_scores), ("mean", mean_colbert_scores)])
def test_as_sentence_transformers(reduce: Reduce, theirs: Any) -> None:
    query, query_mask, document, document_mask = batch(4, 7, 6, 9, dtype=torch.float32)
    expected = theirs(query, document[:, None], queries_mask=query_mask, documents_mask=document_mask[:, None])
    scores = maxsim(query, query_mask, document, document_mask, reduce=reduce, impl="tiled")
    torch.testing.assert_close(scores, expected)


@given(
    shape=st.tuples(*[st.integers(1, 7)] * 4), tile=st.sampled_from([1, 50, 1 << 20]), seed=st.integers(0, 99),
    reduce=st.sampled_from(["sum", "mean"]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_tiled_is_the_reference(shape: tuple[int, int, int, int], tile: int, seed: int, reduce: Reduce) -> None:
    """Value and gradient, over odd shapes, masks and sizes of a block."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TILE", tile)
        patch.setattr(module, "GATHERED", tile)
        for impl in ("reference", "tiled"):
            query, query_mask, document, document_mask = batch(*shape, seed=seed)
            query.requires_grad_(), document.requires_grad_()
            scores = maxsim(query, query_mask, document, document_mask, reduce=reduce, impl=impl)  # type: ignore[arg-type]
            slope = torch.linspace(-1, 1, scores.numel(), dtype=torch.float64).view_as(scores)
            (scores * slope).sum().backward()
            found.append((scores.detach(), query.grad, document.grad))
    for expected, value in zip(*found, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)


def test_of_equal_tokens_the_first_gets_the_gradient() -> None:
    query = torch.eye(3)[None, :2]
    document = torch.eye(3)[[1, 0, 0, 1]][None].requires_grad_()  # exact products
    both = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[True, True, True, True]])
    for impl in ("reference", "tiled"):
        document.grad = None
        maxsim(query, both[0], document, both[1], impl=impl).sum().backward()  # type: ignore[arg-type]
        assert document.grad is not None
        assert document.grad.abs().sum(2).tolist() == [[0.5, 0.5, 0.0, 0.0]]


def test_gradient_is_the_numerical_one() -> None:
    query, query_mask, document, document_mask = batch(2, 3, 3, 4)

    def scores(q: Tensor, d: Tensor) -> Tensor:
        return maxsim(q, query_mask, d, document_mask, impl="tiled")

    assert torch.autograd.gradcheck(scores, (query.requires_grad_(), document.requires_grad_()))


@pytest.mark.parametrize("side", [0, 1])
def test_only_one_side_is_trained(side: int) -> None:
    query, query_mask, document, document_mask = batch(2, 3, 3, 4)
    (query, document)[side].requires_grad_()
    maxsim(query, query_mask, document, document_mask, impl="tiled").sum().backward()
    assert ((query.grad is None), (document.grad is None)) == (side == 1, side == 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_scored_in_single(dtype: torch.dtype) -> None:
    query, query_mask, document, document_mask = batch(3, 4, 5, 6, dtype=torch.float32)
    half = query.to(dtype), query_mask, document.to(dtype), document_mask
    scores = maxsim(*half, impl="tiled")
    assert scores.dtype == torch.float32
    exact = maxsim(half[0].double(), query_mask, half[2].double(), document_mask, impl="reference")
    torch.testing.assert_close(scores.double(), exact, rtol=1e-6, atol=1e-6)


def test_an_empty_document_is_named() -> None:
    query, query_mask, document, document_mask = batch(2, 3, 3, 4)
    document_mask[1] = False
    with pytest.raises(ValueError, match="document 1 has no token"):
        maxsim(query, query_mask, document, document_mask)
    with pytest.raises(ValueError, match="query 0 has no token"):
        maxsim(query, query_mask & False, document, document_mask | True)


def test_shapes_that_do_not_fit() -> None:
    query, query_mask, document, document_mask = batch(2, 3, 3, 4)
    with pytest.raises(ValueError, match="dimensions"):
        maxsim(query[..., :2], query_mask, document, document_mask)
    with pytest.raises(ValueError, match="mask"):
        maxsim(query, query_mask[:, :2], document, document_mask)


class Largest(TorchDispatchMode):
    """The most numbers that any operation puts out."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else [out]:
            if isinstance(value, Tensor):
                self.numbers = max(self.numbers, value.numel())
        return out


@pytest.mark.parametrize("impl", ["reference", "tiled"])
def test_no_tensor_of_all_cosines(impl: Any) -> None:
    """12 questions of 8 tokens, 16 pages of 256: 393,216 cosines, of which the tiled form holds a tile, and the places
    of 1,536 maxima."""
    N, T, M, S, D, tile = 12, 8, 16, 256, 4, 8192
    query, query_mask, document, document_mask = batch(N, T, M, S, D)
    with pytest.MonkeyPatch.context() as patch, Largest() as largest:
        patch.setattr(module, "TILE", tile)
        maxsim(query.requires_grad_(), query_mask, document.requires_grad_(), document_mask, impl=impl).sum().backward()
    if impl == "reference":
        assert largest.numbers == N * T * M * S
    else:
        assert largest.numbers == max(tile, M * S * D)  # a tile, or the documents' own gradient
