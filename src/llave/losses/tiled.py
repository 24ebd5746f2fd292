"""The hardness-weighted loss without its N x N matrix: tiles of scores, recomputed for the gradient or kept.

Notation: ``A`` anchors (this process's queries), ``C`` candidates, ``z_ij = s_ij/tau + alpha*r_ij`` for i != j and
``z_ii = (1 - m) s_ii/tau``; ``E_ij = exp(z_ij)`` and 0 where j is the positive of i, or known to be one.

- Pass 1, one matmul: row sums ``r = E 1`` and column sums ``c = E' 1`` from the same tiles.
- Pass 2, three matmuls (one recomputes z): with ``R = 1/(r + p)``, ``C = 1/(c + p)``, ``p = exp(z_ii)``,
  ``dL/ds_ij = E_ij (R_i + C_j) / (2 A tau)`` off the diagonal: one exponential serves both directions, and the factor
  is 1/tau because the weight is constant for the gradient. The diagonal is ``-(r_i R_i + c_i C_i) / (2 A tau)``.

``keep="scores"`` stores the cosines of pass 1 instead of computing them again.

Matryoshka slices (arXiv 2205.13147) share the products: the scores of a longer prefix are those of the shorter one plus
the product of the dimensions between, and the gradient of those dimensions is one product with the sum of the slices'
gradients. K slices cost as many multiplications as one.

Structure: Inf-CL (arXiv 2410.17243) for the tiles, CCE (arXiv 2411.09009) for recomputation; the shared exponential,
the weighting and the shared slices are ours. Needs torch alone.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from llave.losses.elementwise import Tile
from llave.losses.finite import check_finite
from llave.losses.log_sums import LogSums
from llave.losses.tiles import Keep, Kernels, Problem, Tiles, Totals, packed
from llave.losses.weighting import Weighting, alphas

__all__ = ["Keep", "Kernels", "tiled_loss"]

TILE_BYTES = {"cpu": 4 << 20, "cuda": 256 << 20}
"""Size of a tile of scores: what a core's cache holds, or what a GPU computes on for longer than Python takes to start
its kernels, half a millisecond."""


def tiled_loss(
    query_AD: Tensor,
    target_CD: Tensor,
    *,
    temperature: float | Tensor,
    alpha: float,
    weighting: Weighting = "all",
    positive_margin: float = 0.0,
    symmetric: bool = True,
    offset: int = 0,
    num_pairs: int | None = None,
    reward_AC: Tensor | None = None,
    query_ids: Tensor | None = None,
    target_ids: Tensor | None = None,
    shared_ids: bool = False,
    matryoshka_dims: Sequence[int] | None = None,
    matryoshka_weights: Sequence[float] | None = None,
    keep: Keep = "nothing",
    kernels: Kernels = "torch",
    tile_side: int | None = None,
    distributed: bool = False,
) -> Tensor:
    """Mean loss of the anchors' rows and, if symmetric, of their positives' columns.

    Args:
        query_AD: L2-normalised queries of this process, any float dtype; sums are float32 (float64 stays).
        target_CD: L2-normalised candidates of all processes; ``offset + i`` is the positive of anchor i.
        temperature: tau; a tensor gets a gradient.
        alpha: hardness.
        weighting: which negatives alpha applies to; candidates ``num_pairs * k + offset + i`` are anchor i's own.
        positive_margin: share of its own cosine, without gradient, that a positive's logit is short of.
        offset: candidate that is the first anchor's positive.
        num_pairs: the first candidates, which are positives of some anchor of some process (default: A);
            those behind are extra negatives without a column of their own.
        reward_AC: hardness without gradient; default is the cosine.
        query_ids, target_ids: (num_pairs,) of all processes' queries, (C,) of the candidates. shared_ids: of one space.
        matryoshka_dims, matryoshka_weights: prefixes, each normalised and scored (default: D as it is); default 1.
        keep: "nothing" (4 matmuls), "scores" (3, A x C floats) or "scores16" (3, A x C 16-bit, gradients to 0.1%).
        kernels: "triton" for one kernel per tile between the matmuls (CUDA).
        tile_side: anchors, and candidates, of a tile; default by device.
        distributed: add the column sums of all processes of the default group.
    """
    dtype = torch.promote_types(torch.promote_types(query_AD.dtype, target_CD.dtype), torch.float32)
    if tile_side is None:
        tile_side = math.isqrt(TILE_BYTES.get(query_AD.device.type, TILE_BYTES["cuda"]) // dtype.itemsize)
    dims = (query_AD.shape[1],) if matryoshka_dims is None else tuple(sorted(matryoshka_dims))
    weights = dict(zip(matryoshka_dims or dims, matryoshka_weights or [1.0] * len(dims), strict=True))
    in_batch, own = alphas(alpha, weighting)
    problem = Problem(
        alpha=in_batch,
        own_alpha=own,
        positive_margin=positive_margin,
        symmetric=symmetric,
        offset=offset,
        num_pairs=query_AD.shape[0] if num_pairs is None else num_pairs,
        reward_AC=None if reward_AC is None else reward_AC.detach(),
        query_ids=query_ids,
        target_ids=target_ids,
        shared_ids=shared_ids,
        dims=dims,
        weights=tuple(weights[dim] for dim in dims),
        renormalise=matryoshka_dims is not None,
        keep=keep,
        kernels=kernels,
        tile_side=tile_side,
        distributed=distributed,
    )
    tau = torch.as_tensor(temperature, dtype=dtype, device=query_AD.device)
    with torch.autocast(query_AD.device.type, enabled=False):
        loss: Tensor = _TiledLoss.apply(query_AD, target_CD, tau, problem)
    return loss


class _TiledLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query_AD: Tensor, target_CD: Tensor, tau: Tensor, problem: Problem) -> Tensor:
        tiles = Tiles(query_AD, target_CD, float(tau), problem)
        log_row_KA, log_column_KP, positive_KA, kept = _sums(tiles, problem)
        check_finite(query_AD, target_CD, positive_KA, problem.num_pairs)
        pairs = slice(problem.offset, problem.offset + query_AD.shape[0])
        loss_KA = F.softplus(log_row_KA - positive_KA, threshold=50)
        if problem.symmetric:
            loss_KA = (loss_KA + F.softplus(log_column_KP[:, pairs] - positive_KA, threshold=50)) / 2
        ctx.save_for_backward(query_AD, target_CD, tau, log_row_KA, log_column_KP, positive_KA)
        ctx.problem, ctx.kept = problem, kept
        if problem.weights == (1.0,):
            return loss_KA.mean()
        return (loss_KA.mean(1) * loss_KA.new_tensor(problem.weights)).sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        query_AD, target_CD, tau, log_row_KA, log_column_KP, positive_KA = ctx.saved_tensors
        problem: Problem = ctx.problem
        tiles = Tiles(query_AD, target_CD, float(tau), problem)
        size = query_AD.shape[0]
        pairs = slice(problem.offset, problem.offset + size)
        # Logarithms of r + p and c + p. Extra negatives have no column: exp(z - inf) = 0.
        log_total_KA = torch.logaddexp(log_row_KA, positive_KA)
        log_total_KC = positive_KA.new_full((len(problem.dims), target_CD.shape[0]), torch.inf)
        pull_KA = torch.sigmoid(log_row_KA - positive_KA)
        if problem.symmetric:
            positive_KP = _gathered(positive_KA, problem)
            log_total_KC[:, : problem.num_pairs] = torch.logaddexp(log_column_KP, positive_KP)
            pull_KA = pull_KA + torch.sigmoid(log_column_KP[:, pairs] - positive_KA)
        factor = grad / (size * (2 if problem.symmetric else 1) * tau)
        # 16-bit weights are scaled afterwards: the common factor would push them below the smallest number.
        exact = tiles.scores.grad_dtype == tiles.dtype
        gain = factor if exact else torch.full_like(factor, 4096)
        totals = Totals(log_total_KA, log_total_KC, pull_KA, gain, None if exact else factor / gain)
        query_grad_AD, target_grad_CD, slope = tiles.gradients(totals, ctx.kept, with_slope=ctx.needs_input_grad[2])
        if (
            problem.positive_margin
        ):  # tau divides what the margin leaves of a positive's cosine, which has the slope 1/tau
            weights_K1 = positive_KA.new_tensor(problem.weights)[:, None]
            taken = problem.positive_margin / (1 - problem.positive_margin) * tau
            slope = slope + factor * taken * (weights_K1 * pull_KA * positive_KA).sum()
        return query_grad_AD.to(query_AD.dtype), target_grad_CD.to(target_CD.dtype), -slope / tau, None


def _sums(tiles: Tiles, problem: Problem) -> tuple[Tensor, Tensor, Tensor, list[Tensor] | None]:
    """Pass 1.

    Returns:
        Logarithms of the row sums (K, A) and of the pairs' column sums over all processes (K, P), the positives'
        logits (K, A), and the tiles to keep.
    """
    slices, bounded = len(problem.dims), tiles.scores.bounded
    positive_KA = tiles.query_AD.new_empty((slices, tiles.query_AD.shape[0]), dtype=tiles.dtype)
    row = LogSums(positive_KA, positive_KA.shape, bounded=bounded)
    column = LogSums(positive_KA, (slices, problem.num_pairs), bounded=bounded)
    kept: list[Tensor] | None = None if problem.keep == "nothing" else []
    for rows, columns in itertools.product(tiles.rows(), tuple(tiles.columns())):
        tile = Tile(rows, columns)
        for number, cosine_TC in enumerate(tiles.cosines(tile)):
            positive_KA[number, tiles.scores.positives(tile)] = tiles.scores.diagonal(tile, cosine_TC)
            if kept is not None:
                kept.append(packed(cosine_TC, problem.keep))
            of_rows, of_columns = tiles.elementwise.sums(tile, cosine_TC, consume=problem.keep != "scores")
            row.add(number, rows, of_rows)
            column.add(number, columns, of_columns)
    if problem.distributed and problem.symmetric:
        column.add_other_processes()
    return row.log(), column.log(), positive_KA.mul_((1 - problem.positive_margin) / tiles.scores.tau), kept


def _gathered(positive_KA: Tensor, problem: Problem) -> Tensor:
    """Every pair's positive logit, (K, P)."""
    if not problem.distributed:
        return positive_KA
    parts = [torch.empty_like(positive_KA) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, positive_KA.contiguous())
    return torch.cat(parts, dim=1)
