"""The element-wise half of the tiled loss as two Triton kernels: one pass over a tile between the matrix products.

A fully fused kernel loses to the vendor's matrix product, whose accumulators it has to share registers with; an
element-wise kernel between two of them is bound by memory alone. Every program writes its own partial sums, which are
added afterwards: no atomics, so the result does not depend on scheduling. ``TRITON_INTERPRET=1``, set before this
module is imported, runs the kernels on a CPU.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from llave.losses.elementwise import Scores, Sums, Tile
from llave.losses.masks import EXCLUDED

__all__ = ["TritonElementwise"]

BLOCK_T, BLOCK_C, WARPS = 32, 256, 8
LEFT_OUT: tl.constexpr = tl.constexpr(EXCLUDED / 2)
INTERPRETED = bool(triton.knobs.runtime.interpret)


class TritonElementwise:
    """See :class:`llave.losses.elementwise.Elementwise`."""

    def __init__(self, scores: Scores) -> None:
        self.scores = scores
        self._slopes: Tensor | None = None

    def sums(self, tile: Tile, cosine_TC: Tensor, *, consume: bool) -> tuple[Sums, Sums]:
        """See :class:`llave.losses.elementwise.Elementwise`; never overwrites."""
        if not (cosine_TC.is_cuda or INTERPRETED):
            raise ValueError("impl='triton' needs a GPU; on a CPU use 'tiled' (or TRITON_INTERPRET=1 to test it)")
        rows, columns = cosine_TC.shape
        grid = (triton.cdiv(rows, BLOCK_T), triton.cdiv(columns, BLOCK_C))
        row_YT = cosine_TC.new_empty((2, grid[1], rows))
        column_XC = cosine_TC.new_empty((2, grid[0], columns))
        _sums_kernel[grid](
            **self._common(tile, cosine_TC),
            row_total_ptr=row_YT[0],
            row_top_ptr=row_YT[1],
            column_total_ptr=column_XC[0],
            column_top_ptr=column_XC[1],
            num_warps=WARPS,
        )
        return self._combined(row_YT), self._combined(column_XC)

    def gradient(
        self,
        tile: Tile,
        cosine_TC: Tensor,
        log_total_A: Tensor,
        log_total_C: Tensor,
        pull_A: Tensor,
        gain: Tensor,
        *,
        consume: bool,
    ) -> Tensor:
        """See :class:`llave.losses.elementwise.Elementwise`."""
        rows, columns = cosine_TC.shape
        dtype = self.scores.grad_dtype
        grad_TC = cosine_TC if consume and dtype == cosine_TC.dtype else torch.empty_like(cosine_TC, dtype=dtype)
        _gradient_kernel[triton.cdiv(rows, BLOCK_T), triton.cdiv(columns, BLOCK_C)](
            **self._common(tile, cosine_TC),
            log_total_row_ptr=log_total_A[tile.rows],
            log_total_column_ptr=log_total_C[tile.columns],
            pull_ptr=pull_A[tile.rows],
            grad_ptr=grad_TC,
            gain_ptr=gain,
            num_warps=WARPS,
        )
        return grad_TC

    def _common(self, tile: Tile, cosine_TC: Tensor) -> dict[str, Any]:
        scores = self.scores
        if self._slopes is None:  # in memory, because a kernel's scalar arguments are float32
            self._slopes = cosine_TC.new_tensor([1 / scores.tau, scores.alpha, scores.own_alpha])
        rows, columns = cosine_TC.shape
        # Candidates from num_pairs on have no query of their own; 0 pairs means no query ids.
        num_queries = min(max(scores.num_pairs - tile.columns.start, 0), columns)
        pairs = slice(tile.rows.start + scores.offset, tile.rows.stop + scores.offset)
        reward_TC = None if scores.reward_AC is None else scores.reward_AC[tile.rows, tile.columns].contiguous()
        nothing = cosine_TC  # a pointer that is not read
        query_ids, target_ids = scores.query_ids, scores.target_ids
        return {
            "cosine_ptr": cosine_TC,
            "slopes_ptr": self._slopes,
            "reward_ptr": nothing if reward_TC is None else reward_TC,
            "row_query_ptr": nothing if query_ids is None else query_ids[pairs],
            "column_query_ptr": nothing if query_ids is None else query_ids[tile.columns],
            "row_target_ptr": nothing if target_ids is None else target_ids[pairs],
            "column_target_ptr": nothing if target_ids is None else target_ids[tile.columns],
            "rows": rows,
            "columns": columns,
            "diagonal": scores.offset + tile.rows.start - tile.columns.start,
            "num_queries": num_queries,
            "num_pairs": scores.num_pairs,
            "HAS_REWARD": reward_TC is not None,
            "HAS_QUERY_IDS": query_ids is not None,
            "HAS_TARGET_IDS": target_ids is not None,
            "SHARED_IDS": scores.shared_ids and query_ids is not None and target_ids is not None,
            "HAS_OWN": scores.own_alpha != scores.alpha,
            "BOUNDED": scores.bounded,
            "BLOCK_T": BLOCK_T,
            "BLOCK_C": BLOCK_C,
        }

    def _combined(self, partial_2XN: Tensor) -> Sums:
        """One sum of the programs' partial sums."""
        total_XN, top_XN = partial_2XN
        if self.scores.bounded:
            return Sums(total_XN.sum(0), None)
        top_N = top_XN.amax(0)
        return Sums((total_XN * (top_XN - top_N).exp()).sum(0), top_N)


@triton.jit
def _logits(
    cosine_ptr, slopes_ptr, reward_ptr, row_query_ptr, column_query_ptr, row_target_ptr, column_target_ptr,
    rows, columns, diagonal, num_queries, num_pairs,
    HAS_REWARD: tl.constexpr, HAS_QUERY_IDS: tl.constexpr, HAS_TARGET_IDS: tl.constexpr,
    SHARED_IDS: tl.constexpr, HAS_OWN: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """This program's rows t, columns c, places in the tile, and logits; -inf at positives and outside."""
    t = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = (t < rows)[:, None] & (c < columns)[None, :]
    place = t[:, None] * columns + c[None, :]
    cosine = tl.load(cosine_ptr + place, mask=inside, other=0.0)
    inverse_tau, alpha = tl.load(slopes_ptr), tl.load(slopes_ptr + 1)
    reward = cosine
    if HAS_REWARD:
        reward = tl.load(reward_ptr + place, mask=inside, other=0.0).to(cosine.dtype)
    weight = alpha
    if HAS_OWN:  # the positive of row t is column t + diagonal, its own hard negatives are num_pairs apart behind it
        behind = c[None, :] - t[:, None] - diagonal
        weight = tl.where((behind > 0) & (behind % num_pairs == 0), tl.load(slopes_ptr + 2), alpha)
    logit = cosine * inverse_tau + weight * reward
    counts = inside & (c[None, :] != t[:, None] + diagonal)
    if HAS_REWARD:  # as masks.left_out
        counts = counts & (reward >= LEFT_OUT)
    if HAS_QUERY_IDS:
        row_id = tl.load(row_query_ptr + t, mask=t < rows, other=0)
        column_id = tl.load(column_query_ptr + c, mask=c < num_queries, other=0)
        counts = counts & ((row_id[:, None] != column_id[None, :]) | (c >= num_queries)[None, :])
    if HAS_TARGET_IDS:
        row_id = tl.load(row_target_ptr + t, mask=t < rows, other=0)
        column_id = tl.load(column_target_ptr + c, mask=c < columns, other=0)
        counts = counts & (row_id[:, None] != column_id[None, :])
    if SHARED_IDS:
        row_id = tl.load(row_query_ptr + t, mask=t < rows, other=0)
        column_id = tl.load(column_target_ptr + c, mask=c < columns, other=0)
        counts = counts & (row_id[:, None] != column_id[None, :])
    return t, c, place, inside, tl.where(counts, logit, -float("inf"))


@triton.jit
def _sums_kernel(
    cosine_ptr, slopes_ptr, reward_ptr, row_query_ptr, column_query_ptr, row_target_ptr, column_target_ptr,
    row_total_ptr, row_top_ptr, column_total_ptr, column_top_ptr,
    rows, columns, diagonal, num_queries, num_pairs,
    HAS_REWARD: tl.constexpr, HAS_QUERY_IDS: tl.constexpr, HAS_TARGET_IDS: tl.constexpr,
    SHARED_IDS: tl.constexpr, HAS_OWN: tl.constexpr, BOUNDED: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Sums of exp(z) of a block's rows and columns, from one exponential where none can overflow."""
    t, c, _place, _inside, logit = _logits(
        cosine_ptr, slopes_ptr, reward_ptr, row_query_ptr, column_query_ptr, row_target_ptr, column_target_ptr,
        rows, columns, diagonal, num_queries, num_pairs, HAS_REWARD, HAS_QUERY_IDS, HAS_TARGET_IDS, SHARED_IDS,
        HAS_OWN, BLOCK_T, BLOCK_C,
    )  # fmt: skip
    row_place = tl.program_id(1) * rows + t
    column_place = tl.program_id(0) * columns + c
    if BOUNDED:
        weight = tl.exp(logit)
        tl.store(row_total_ptr + row_place, tl.sum(weight, 1), mask=t < rows)
        tl.store(column_total_ptr + column_place, tl.sum(weight, 0), mask=c < columns)
    else:
        floor = -1e38  # instead of -inf where nothing counts: -inf - -inf is no number
        row_top = tl.maximum(tl.max(logit, 1), floor)
        tl.store(row_top_ptr + row_place, row_top, mask=t < rows)
        tl.store(row_total_ptr + row_place, tl.sum(tl.exp(logit - row_top[:, None]), 1), mask=t < rows)
        column_top = tl.maximum(tl.max(logit, 0), floor)
        tl.store(column_top_ptr + column_place, column_top, mask=c < columns)
        tl.store(column_total_ptr + column_place, tl.sum(tl.exp(logit - column_top[None, :]), 0), mask=c < columns)


@triton.jit
def _gradient_kernel(
    cosine_ptr, slopes_ptr, reward_ptr, row_query_ptr, column_query_ptr, row_target_ptr, column_target_ptr,
    log_total_row_ptr, log_total_column_ptr, pull_ptr, grad_ptr, gain_ptr,
    rows, columns, diagonal, num_queries, num_pairs,
    HAS_REWARD: tl.constexpr, HAS_QUERY_IDS: tl.constexpr, HAS_TARGET_IDS: tl.constexpr,
    SHARED_IDS: tl.constexpr, HAS_OWN: tl.constexpr, BOUNDED: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """``exp(z) (exp(-log_total_row) + exp(-log_total_column))``, minus the pull at the positives."""
    t, c, place, inside, logit = _logits(
        cosine_ptr, slopes_ptr, reward_ptr, row_query_ptr, column_query_ptr, row_target_ptr, column_target_ptr,
        rows, columns, diagonal, num_queries, num_pairs, HAS_REWARD, HAS_QUERY_IDS, HAS_TARGET_IDS, SHARED_IDS,
        HAS_OWN, BLOCK_T, BLOCK_C,
    )  # fmt: skip
    log_row = tl.load(log_total_row_ptr + t, mask=t < rows, other=0.0)[:, None]
    log_column = tl.load(log_total_column_ptr + c, mask=c < columns, other=0.0)[None, :]
    if BOUNDED:
        grad = tl.exp(logit) * (tl.exp(-log_row) + tl.exp(-log_column))
    else:
        grad = tl.exp(logit - log_row) + tl.exp(logit - log_column)
    pull = tl.load(pull_ptr + t, mask=t < rows, other=0.0)[:, None]
    grad = tl.where(c[None, :] == t[:, None] + diagonal, -pull, grad) * tl.load(gain_ptr)
    tl.store(grad_ptr + place, grad.to(grad_ptr.dtype.element_ty), mask=inside)
