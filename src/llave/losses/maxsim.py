"""MaxSim, the score of late interaction (ColBERT, arXiv 2004.12832): every query token finds its best document token.

Needs torch alone. ``N`` queries of up to ``T`` tokens, ``M`` documents of up to ``S`` tokens, ``D`` dimensions:

    score_nm = sum_t max_s <query_nt, document_ms>        (over t's number with ``reduce="mean"``)

The plain form holds all N x M x T x S cosines and autograd's copies of them: 64 questions against 64 pages of 1,024
tokens are 5 GB. The tiled form makes one block of queries x documents at a time and keeps the place of each maximum,
N x M x T integers. That is all that the gradient needs: it reaches one document token per query token, so that the
backward pass gathers rows instead of multiplying matrices.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Reduce", "maxsim"]

Reduce = Literal["sum", "mean"]
SMALL = 1 << 18
"""Cosines below which plain autograd is the fastest, or as fast as any."""
TILE = 1 << 20
"""Cosines of a block: 4 MB in float32, which a CPU's cache holds."""
GATHERED = 1 << 20
"""Maxima whose gradient is gathered at a time."""


def maxsim(
    query_NTD: Tensor,
    query_mask_NT: Tensor,
    document_MSD: Tensor,
    document_mask_MS: Tensor,
    *,
    reduce: Reduce = "mean",
    impl: Literal["auto", "reference", "tiled"] = "auto",
) -> Tensor:
    """Scores (N, M) of every query with every document.

    Of equally good document tokens the first one gets the gradient, in every implementation.

    Args:
        query_NTD: L2-normalised tokens. Any float type; computed in float32 (float64 stays float64).
        query_mask_NT: which of them count.
        document_MSD, document_mask_MS: likewise.
        reduce: over a query's tokens. The mean lies in [-1, 1], so that queries of any length share a temperature.
        impl: "reference" (plain autograd), "tiled" (never all cosines at once), or "auto".

    Raises:
        ValueError: shapes that do not fit, or a query or document without a token (named by number).
    """
    _check(query_NTD, query_mask_NT, document_MSD, document_mask_MS)
    if reduce not in ("sum", "mean") or impl not in ("auto", "reference", "tiled"):
        raise ValueError(f"no such reduce or impl: {reduce!r}, {impl!r}")
    dtype = torch.promote_types(torch.promote_types(query_NTD.dtype, document_MSD.dtype), torch.float32)
    device_type = query_NTD.device.type
    with torch.autocast(device_type, enabled=False) if torch.is_autocast_enabled(device_type) else nullcontext():
        query_NTD, document_MSD = query_NTD.to(dtype), document_MSD.to(dtype)
        weight_NT = query_mask_NT.to(dtype)
        if reduce == "mean":
            weight_NT = weight_NT / weight_NT.sum(1, keepdim=True)
        pairs = query_mask_NT.numel() * document_mask_MS.numel()
        if impl == "reference" or (impl == "auto" and pairs <= SMALL):
            return _reference(query_NTD, weight_NT, document_MSD, document_mask_MS.bool())
        score_NM: Tensor = _Tiled.apply(query_NTD, weight_NT, document_MSD, document_mask_MS.bool())
        return score_NM


def _reference(query_NTD: Tensor, weight_NT: Tensor, document_MSD: Tensor, mask_MS: Tensor) -> Tensor:
    """The formula in plain autograd: what the tiled form is held to."""
    cosine_NTMS = torch.einsum("ntd,msd->ntms", query_NTD, document_MSD)
    best_NTM = cosine_NTMS.masked_fill(~mask_MS, -torch.inf).max(3).values
    return (best_NTM * weight_NT[..., None]).sum(1)


class _Tiled(torch.autograd.Function):
    """Blocks of queries x documents, and the place of every maximum."""

    @staticmethod
    def forward(ctx: Any, query_NTD: Tensor, weight_NT: Tensor, document_MSD: Tensor, mask_MS: Tensor) -> Tensor:
        (N, T, D), (M, S, _) = query_NTD.shape, document_MSD.shape
        score_NM = query_NTD.new_empty(N, M)
        place_NTM = torch.empty((N, T, M), dtype=torch.int16 if S <= 2**15 else torch.int32, device=query_NTD.device)
        for rows, columns in _blocks(N, T, M, S):
            query_XD = query_NTD[rows].reshape(-1, D)
            document_YD = document_MSD[columns].reshape(-1, D)
            cosine_XmS = (query_XD @ document_YD.T).view(len(query_XD), -1, S)
            best_Xm, place_Xm = cosine_XmS.masked_fill_(~mask_MS[columns], -torch.inf).max(2)
            weighted_ntm = best_Xm.view(-1, T, best_Xm.shape[1]) * weight_NT[rows, :, None]
            score_NM[rows, columns] = weighted_ntm.sum(1)
            place_NTM[rows, :, columns] = place_Xm.view(weighted_ntm.shape).to(place_NTM.dtype)
        ctx.save_for_backward(query_NTD, weight_NT, document_MSD, place_NTM)
        return score_NM

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, Tensor | None, None]:
        query_NTD, weight_NT, document_MSD, place_NTM = ctx.saved_tensors
        grad_NM = grads[0]
        (N, T, D), (M, S, _) = query_NTD.shape, document_MSD.shape
        document_YD = document_MSD.reshape(-1, D)
        first_M = torch.arange(M, device=grad_NM.device) * S
        grad_query = torch.empty_like(query_NTD) if ctx.needs_input_grad[0] else None
        grad_document = torch.zeros_like(document_MSD) if ctx.needs_input_grad[2] else None
        step = max(1, GATHERED // (T * M))
        for start in range(0, N, step):
            rows = slice(start, start + step)
            place_XM = (place_NTM[rows].long() + first_M).view(-1, M)  # rows of document_YD
            slope_XM = (grad_NM[rows, None] * weight_NT[rows, :, None]).view(-1, M)
            if grad_query is not None:
                grad_query[rows] = _weighted_rows(document_YD, place_XM, slope_XM).view(-1, T, D)
            if grad_document is not None:
                _scatter(grad_document.view(-1, D), query_NTD[rows].reshape(-1, D), place_XM, slope_XM)
        return grad_query, None, grad_document, None


def _weighted_rows(value_YD: Tensor, place_XM: Tensor, slope_XM: Tensor) -> Tensor:
    """For each of X the sum over M of ``slope * value[place]``, (X, D), without X x M x D numbers."""
    return F.embedding_bag(place_XM, value_YD, per_sample_weights=slope_XM, mode="sum")


def _scatter(grad_YD: Tensor, value_XD: Tensor, place_XM: Tensor, slope_XM: Tensor) -> None:
    """Add ``slope * value`` of each of X to its M places, in an order that is always the same."""
    place, order = place_XM.flatten().sort(stable=True)
    rows_Y, count_Y = place.unique_consecutive(return_counts=True)
    offset_Y = count_Y.cumsum(0) - count_Y
    slope = slope_XM.flatten()[order]
    source = order.div_(place_XM.shape[1], rounding_mode="floor")
    grad_YD[rows_Y] += F.embedding_bag(source, value_XD, offset_Y, per_sample_weights=slope, mode="sum")


def _blocks(N: int, T: int, M: int, S: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of whole queries and documents, of about :data:`TILE` cosines, or one pair's if that has more."""
    documents = min(M, max(1, int(TILE**0.5) // S))
    queries = max(1, TILE // (documents * S * T))
    if queries >= N:
        queries, documents = N, min(M, max(1, TILE // (N * T * S)))
    for row in range(0, N, queries):
        for column in range(0, M, documents):
            yield slice(row, min(row + queries, N)), slice(column, min(column + documents, M))


def _check(query_NTD: Tensor, query_mask_NT: Tensor, document_MSD: Tensor, document_mask_MS: Tensor) -> None:
    for name, tokens, mask in (("query", query_NTD, query_mask_NT), ("document", document_MSD, document_mask_MS)):
        if tokens.ndim != 3 or mask.shape != tokens.shape[:2]:
            raise ValueError(
                f"{name}: tokens (N, T, D) and a mask (N, T), not {tuple(tokens.shape)}, {tuple(mask.shape)}"
            )
        if not len(tokens):
            raise ValueError(f"there is no {name}")
        empty = ~mask.bool().any(1)
        if empty.any():
            raise ValueError(f"{name} {int(empty.nonzero()[0])} has no token that counts")
    if query_NTD.shape[2] != document_MSD.shape[2]:
        raise ValueError(f"tokens of {query_NTD.shape[2]} and of {document_MSD.shape[2]} dimensions")
