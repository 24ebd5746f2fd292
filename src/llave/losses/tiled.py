"""The hardness-weighted loss without its N x N matrix: rows of tiles, recomputed for the gradient or kept.

Notation: ``A`` anchors (this process's queries), ``C`` candidates, ``z_ij = s_ij/tau + alpha*r_ij`` for i != j and
``z_ii = s_ii/tau``; ``E_ij = exp(z_ij)`` and 0 where j is the positive of i, or known to be one.

- Pass 1, one matmul: row sums ``r = E 1`` and column sums ``c = E' 1`` from the same tiles.
- Pass 2, three matmuls (one recomputes z): with ``R = 1/(r + p)``, ``C = 1/(c + p)``, ``p = exp(z_ii)``,
  ``dL/ds_ij = E_ij (R_i + C_j) / (2 A tau)`` off the diagonal: one exponential serves both directions, and the factor
  is 1/tau because the weight is constant for the gradient. The diagonal is ``-(r_i R_i + c_i C_i) / (2 A tau)``.

``keep="scores"`` stores the tiles of pass 1 instead of computing them again. The bound ``|s| <= 1`` makes a running
maximum unnecessary while ``1/tau + alpha + log C`` stays below the exponent range; otherwise the sums are logarithms.
Structure: Inf-CL (arXiv 2410.17243) for the tiles, CCE (arXiv 2411.09009) for recomputation; the shared exponential
and the weighting are ours. Needs torch alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from llave.losses.masks import known_positives

__all__ = ["Keep", "tiled_loss"]

Keep = Literal["nothing", "scores", "scores16"]

TILE_BYTES = {"cpu": 4 << 20, "cuda": 256 << 20}
"""Size of a tile of scores: what a core's cache holds, or what keeps a GPU's matmuls busy."""
INT16 = 32767.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    alpha: float
    symmetric: bool
    offset: int
    num_pairs: int
    reward_AC: Tensor | None
    query_ids: Tensor | None
    target_ids: Tensor | None
    keep: Keep
    tile_rows: int
    distributed: bool


def tiled_loss(
    query_AD: Tensor,
    target_CD: Tensor,
    *,
    temperature: float | Tensor,
    alpha: float,
    symmetric: bool = True,
    offset: int = 0,
    num_pairs: int | None = None,
    reward_AC: Tensor | None = None,
    query_ids: Tensor | None = None,
    target_ids: Tensor | None = None,
    keep: Keep = "nothing",
    tile_rows: int | None = None,
    distributed: bool = False,
) -> Tensor:
    """Mean loss of the anchors' rows and, if symmetric, of their positives' columns.

    Args:
        query_AD: L2-normalised queries of this process, any float dtype; sums are float32 (float64 stays).
        target_CD: L2-normalised candidates of all processes; ``offset + i`` is the positive of anchor i.
        temperature: tau; a tensor gets a gradient.
        alpha: hardness.
        offset: candidate that is the first anchor's positive.
        num_pairs: the first candidates, which are positives of some anchor of some process (default: A);
            those behind are extra negatives without a column of their own.
        reward_AC: hardness without gradient; default is the cosine.
        query_ids: (num_pairs,) ids of all processes' queries. target_ids: (C,) ids of the candidates.
        keep: "nothing" (4 matmuls), "scores" (3 matmuls, A x C floats) or "scores16" (3 matmuls, A x C
            16-bit numbers, a gradient error of about 0.1%).
        tile_rows: anchors per tile; default by device.
        distributed: add the column sums of all processes of the default group.
    """
    size, candidates = query_AD.shape[0], target_CD.shape[0]
    dtype = torch.promote_types(torch.promote_types(query_AD.dtype, target_CD.dtype), torch.float32)
    if tile_rows is None:
        budget = TILE_BYTES.get(query_AD.device.type, TILE_BYTES["cuda"])
        tile_rows = max(1, budget // (candidates * dtype.itemsize))
    problem = _Problem(
        alpha=alpha,
        symmetric=symmetric,
        offset=offset,
        num_pairs=size if num_pairs is None else num_pairs,
        reward_AC=None if reward_AC is None else reward_AC.detach(),
        query_ids=query_ids,
        target_ids=target_ids,
        keep=keep,
        tile_rows=tile_rows,
        distributed=distributed,
    )
    tau = torch.as_tensor(temperature, dtype=dtype, device=query_AD.device)
    with torch.autocast(query_AD.device.type, enabled=False):
        loss: Tensor = _TiledLoss.apply(query_AD, target_CD, tau, problem)
    return loss


class _TiledLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query_AD: Tensor, target_CD: Tensor, tau: Tensor, problem: _Problem) -> Tensor:
        tiles = _Tiles(query_AD, target_CD, float(tau), problem)
        log_row_A, log_column_P, kept = _sums(tiles, problem)
        positive_A = tiles.positive_logits()
        pairs = slice(problem.offset, problem.offset + query_AD.shape[0])
        loss = F.softplus(log_row_A - positive_A, threshold=50).mean()
        if problem.symmetric:
            loss = (loss + F.softplus(log_column_P[pairs] - positive_A, threshold=50).mean()) / 2
        ctx.save_for_backward(query_AD, target_CD, tau, log_row_A, log_column_P, positive_A)
        ctx.problem, ctx.kept = problem, kept
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        query_AD, target_CD, tau, log_row_A, log_column_P, positive_A = ctx.saved_tensors
        problem: _Problem = ctx.problem
        tiles = _Tiles(query_AD, target_CD, float(tau), problem)
        size = query_AD.shape[0]
        pairs = slice(problem.offset, problem.offset + size)
        # Logarithms of r + p and c + p. Extra negatives have no column: exp(z - inf) = 0.
        log_total_A = torch.logaddexp(log_row_A, positive_A)
        log_total_C = positive_A.new_full((target_CD.shape[0],), torch.inf)
        pull_A = torch.sigmoid(log_row_A - positive_A)
        if problem.symmetric:
            positive_P = _gathered(positive_A, problem)
            log_total_C[: problem.num_pairs] = torch.logaddexp(log_column_P, positive_P)
            pull_A = pull_A + torch.sigmoid(log_column_P[pairs] - positive_A)
        query_grad_AD = torch.empty_like(query_AD, dtype=tiles.dtype)
        target_grad_CD = torch.zeros_like(target_CD, dtype=tiles.dtype)
        for rows, tile_TC in tiles.again(ctx.kept):
            if tiles.bounded:
                weight_TC = (-log_total_A[rows]).exp()[:, None] + (-log_total_C).exp()
                tile_TC = tile_TC.mul_(weight_TC) if ctx.kept is None else tile_TC * weight_TC
            else:
                tile_TC = (tile_TC - log_total_A[rows, None]).exp() + (tile_TC - log_total_C).exp()
            tiles.positives(rows, tile_TC).copy_(-pull_A[rows])
            tiles.accumulate(tile_TC, rows, query_grad_AD, target_grad_CD)
        scale = grad / (size * (2 if problem.symmetric else 1))
        # sum_ij dL/dz_ij * dz_ij/dtau, where sum_j dL/dz_ij s_ij is the query's product with its own gradient.
        tau_grad = -(query_grad_AD * query_AD).sum() * scale / tau**2 if ctx.needs_input_grad[2] else None
        factor = scale / tau
        return (
            query_grad_AD.mul_(factor).to(query_AD.dtype),
            target_grad_CD.mul_(factor).to(target_CD.dtype),
            tau_grad,
            None,
        )


class _Tiles:
    """Tiles of logits z (T, C), row by row; ``-inf`` at positives."""

    def __init__(self, query_AD: Tensor, target_CD: Tensor, tau: float, problem: _Problem) -> None:
        self.dtype = torch.promote_types(torch.promote_types(query_AD.dtype, target_CD.dtype), torch.float32)
        self.native = query_AD.device.type == "cuda" and query_AD.dtype == target_CD.dtype
        # A GPU multiplies 16-bit numbers into float32; a CPU is faster with float32 from the start.
        self.query_AD = query_AD if self.native else query_AD.to(self.dtype)
        self.target_CD = target_CD if self.native else target_CD.to(self.dtype)
        self.tau, self.problem = tau, problem
        self.beta = 1 / tau + problem.alpha
        limit = math.log(torch.finfo(self.dtype).max) - 4
        self.bounded = problem.reward_AC is None and self.beta + math.log(target_CD.shape[0]) < limit

    def __iter__(self) -> Iterator[slice]:
        for start in range(0, self.query_AD.shape[0], self.problem.tile_rows):
            yield slice(start, min(start + self.problem.tile_rows, self.query_AD.shape[0]))

    def positive_logits(self) -> Tensor:
        """s_ii/tau, (A,)."""
        start = self.problem.offset
        positive_AD = self.target_CD[start : start + self.query_AD.shape[0]]
        return (self.query_AD.to(self.dtype) * positive_AD.to(self.dtype)).sum(1) / self.tau

    def positives(self, rows: slice, tile_TC: Tensor) -> Tensor:
        """View of a tile's positives, (T,)."""
        return tile_TC.diagonal(self.problem.offset + rows.start)

    def cosines(self, rows: slice) -> Tensor:
        """s of a tile, in full precision."""
        return self._product(self.query_AD[rows], self.target_CD.T)

    def logits(self, rows: slice, cosine_TC: Tensor) -> Tensor:
        """z of a tile, made from its cosines in place."""
        problem = self.problem
        if problem.reward_AC is None:
            logit_TC = cosine_TC.mul_(self.beta)
        else:
            logit_TC = cosine_TC.div_(self.tau).add_(problem.reward_AC[rows].to(self.dtype), alpha=problem.alpha)
        if problem.query_ids is not None or problem.target_ids is not None:
            pair = torch.arange(rows.start, rows.stop, device=logit_TC.device) + problem.offset
            known_TC = known_positives(pair, logit_TC.shape[1], problem.query_ids, problem.target_ids)
            if known_TC is not None:
                logit_TC.masked_fill_(known_TC, -torch.inf)
        self.positives(rows, logit_TC).fill_(-torch.inf)
        return logit_TC

    def fresh(self) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
        """Rows, exp(z) if bounded or z if not, and what to keep of the tile."""
        for rows in self:
            cosine_TC = self.cosines(rows)
            kept = (cosine_TC * INT16).round().to(torch.int16) if self.problem.keep == "scores16" else None
            tile_TC = self.logits(rows, cosine_TC)
            if self.bounded:
                tile_TC = tile_TC.exp_()
            yield rows, tile_TC, tile_TC if self.problem.keep == "scores" else kept

    def again(self, kept: list[Tensor] | None) -> Iterator[tuple[slice, Tensor]]:
        """The same tiles once more, from what was kept or computed again."""
        if kept is None:
            yield from ((rows, tile_TC) for rows, tile_TC, _ in self.fresh())
            return
        for rows, stored in zip(self, kept, strict=True):
            if stored.dtype == torch.int16:
                tile_TC = self.logits(rows, stored.to(self.dtype).div_(INT16))
                yield rows, tile_TC.exp_() if self.bounded else tile_TC
            else:
                yield rows, stored

    def accumulate(self, grad_TC: Tensor, rows: slice, query_grad_AD: Tensor, target_grad_CD: Tensor) -> None:
        """Add a tile's dL/dz to the gradients: dQ = G K, dK += G' Q."""
        grad_TC = grad_TC.to(self.query_AD.dtype)
        query_grad_AD[rows] = self._product(grad_TC, self.target_CD)
        if grad_TC.dtype == self.dtype:
            target_grad_CD.addmm_(grad_TC.T, self.query_AD[rows])
        else:
            target_grad_CD += self._product(grad_TC.T, self.query_AD[rows])

    def _product(self, left: Tensor, right: Tensor) -> Tensor:
        if left.dtype == self.dtype:
            return left @ right
        return torch.mm(left, right, out_dtype=self.dtype)


def _sums(tiles: _Tiles, problem: _Problem) -> tuple[Tensor, Tensor, list[Tensor] | None]:
    """Logarithms of the row sums (A,) and of the pairs' column sums over all processes (P,), and kept tiles."""
    log_row_A = tiles.query_AD.new_empty(tiles.query_AD.shape[0], dtype=tiles.dtype)
    pairs = problem.num_pairs
    total_P = log_row_A.new_zeros(pairs)
    top_P = log_row_A.new_full((pairs,), 0.0 if tiles.bounded else torch.finfo(tiles.dtype).min)
    kept: list[Tensor] | None = None if problem.keep == "nothing" else []
    for rows, tile_TC, stored in tiles.fresh():
        if kept is not None and stored is not None:
            kept.append(stored)
        if tiles.bounded:
            log_row_A[rows] = tile_TC.sum(1).log()
            total_P += tile_TC[:, :pairs].sum(0)
        else:
            log_row_A[rows] = tile_TC.logsumexp(1)
            higher_P = torch.maximum(top_P, tile_TC[:, :pairs].amax(0))
            total_P = total_P * (top_P - higher_P).exp() + (tile_TC[:, :pairs] - higher_P).exp().sum(0)
            top_P = higher_P
    if problem.distributed and problem.symmetric:
        if not tiles.bounded:
            higher_P = top_P.clone()
            torch.distributed.all_reduce(higher_P, op=torch.distributed.ReduceOp.MAX)
            total_P, top_P = total_P * (top_P - higher_P).exp(), higher_P
        torch.distributed.all_reduce(total_P)
    return log_row_A, total_P.log() + top_P, kept


def _gathered(positive_A: Tensor, problem: _Problem) -> Tensor:
    """Every pair's positive logit, (P,)."""
    if not problem.distributed:
        return positive_A
    parts = [torch.empty_like(positive_A) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, positive_A.contiguous())
    return torch.cat(parts)
