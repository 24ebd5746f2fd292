"""The hardness-weighted loss without its N x N matrix: tiles of scores, recomputed for the gradient or kept.

Notation: ``A`` anchors (this process's queries), ``C`` candidates, ``z_ij = s_ij/tau + alpha*r_ij`` for i != j and
``z_ii = s_ii/tau``; ``E_ij = exp(z_ij)`` and 0 where j is the positive of i, or known to be one.

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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from llave.losses.elementwise import Elementwise, Scores, Tile, TorchElementwise
from llave.losses.finite import check_finite
from llave.losses.log_sums import LogSums

__all__ = ["Keep", "Kernels", "tiled_loss"]

Keep = Literal["nothing", "scores", "scores16"]
Kernels = Literal["torch", "triton"]

TILE_BYTES = {"cpu": 4 << 20, "cuda": 64 << 20}
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
    shared_ids: bool
    dims: tuple[int, ...]
    weights: tuple[float, ...]
    renormalise: bool
    keep: Keep
    kernels: Kernels
    tile_side: int
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
    problem = _Problem(
        alpha=alpha,
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
    def forward(ctx: Any, query_AD: Tensor, target_CD: Tensor, tau: Tensor, problem: _Problem) -> Tensor:
        tiles = _Tiles(query_AD, target_CD, float(tau), problem)
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
        problem: _Problem = ctx.problem
        tiles = _Tiles(query_AD, target_CD, float(tau), problem)
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
        totals = _Totals(log_total_KA, log_total_KC, pull_KA, gain, None if exact else factor / gain)
        query_grad_AD, target_grad_CD, slope = tiles.gradients(totals, ctx.kept, with_slope=ctx.needs_input_grad[2])
        return query_grad_AD.to(query_AD.dtype), target_grad_CD.to(target_CD.dtype), -slope / tau, None


class _Totals(NamedTuple):
    """What pass 2 knows from pass 1: log(r + p), log(c + p), the positives' pull, and the common factor's two parts."""

    log_KA: Tensor
    log_KC: Tensor
    pull_KA: Tensor
    gain: Tensor
    after: Tensor | None


class _Tiles:
    """The matrix products of all tiles."""

    def __init__(self, query_AD: Tensor, target_CD: Tensor, tau: float, problem: _Problem) -> None:
        self.dtype = torch.promote_types(torch.promote_types(query_AD.dtype, target_CD.dtype), torch.float32)
        # A GPU multiplies 16-bit numbers into float32; a CPU is faster with float32 from the start.
        native = query_AD.device.type == "cuda" and query_AD.dtype == target_CD.dtype
        self.query_AD = query_AD if native else query_AD.to(self.dtype)
        self.target_CD = target_CD if native else target_CD.to(self.dtype)
        self.problem = problem
        self.scores = Scores(
            tau=tau,
            alpha=problem.alpha,
            offset=problem.offset,
            num_candidates=target_CD.shape[0],
            num_pairs=problem.num_pairs,
            reward_AC=problem.reward_AC,
            query_ids=problem.query_ids,
            target_ids=problem.target_ids,
            shared_ids=problem.shared_ids,
            dtype=self.dtype,
            grad_dtype=self.query_AD.dtype,
        )
        self.elementwise = _elementwise(self.scores, problem.kernels)
        # 1/|prefix| of every embedding, per slice.
        self.query_norm_KA = self._inverse_norms(self.query_AD) if problem.renormalise else None
        self.target_norm_KC = self._inverse_norms(self.target_CD) if problem.renormalise else None

    def rows(self) -> Iterator[slice]:
        """Blocks of anchors."""
        return _blocks(self.query_AD.shape[0], self.problem.tile_side)

    def columns(self) -> Iterator[slice]:
        """Blocks of candidates."""
        return _blocks(self.target_CD.shape[0], self.problem.tile_side)

    def cosines(self, tile: Tile) -> Iterator[Tensor]:
        """s of a tile, slice by slice; each may be overwritten."""
        start, product_TC = 0, None
        for number, dim in enumerate(self.problem.dims):
            part_TC = self._product(self.query_AD[tile.rows, start:dim], self.target_CD[tile.columns, start:dim].T)
            product_TC = part_TC if product_TC is None else product_TC.add_(part_TC)
            yield product_TC if self.query_norm_KA is None else product_TC * self._norms(number, tile)
            start = dim

    def gradients(
        self, totals: _Totals, kept: list[Tensor] | None, *, with_slope: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients by the queries and by the targets, and the sum of dL/ds * s (0 unless asked for)."""
        stored = None if kept is None else iter(kept)
        query_grad_AD = torch.empty_like(self.query_AD)
        target_grad_CD = torch.empty_like(self.target_CD, dtype=self.dtype)
        slope_KA, slope_KC = torch.zeros_like(totals.log_KA), torch.zeros_like(totals.log_KC)
        slope = totals.log_KA.new_zeros(())
        if self.problem.dims[-1] < self.query_AD.shape[1]:  # no slice reaches the last dimensions
            target_grad_CD.zero_()
        for rows in self.rows():
            grad_TD = query_grad_AD[rows]
            if grad_TD.dtype != self.dtype:
                grad_TD = torch.empty_like(grad_TD, dtype=self.dtype)
            grad_TD[:, self.problem.dims[-1] :] = 0
            for columns in self.columns():
                tile = Tile(rows, columns)
                if stored is None:
                    cosines = list(self.cosines(tile))
                else:
                    cosines = [self._unpack(next(stored)) for _ in self.problem.dims]
                for dims, weight_TC in self._weights(tile, cosines, totals, slope_KA, slope_KC):
                    weight_CT = weight_TC.T
                    self._add(weight_TC, self.target_CD[columns, dims], grad_TD[:, dims], first=not columns.start)
                    self._add(weight_CT, self.query_AD[rows, dims], target_grad_CD[columns, dims], first=not rows.start)
            if self.query_norm_KA is not None:
                self._along_the_sphere(grad_TD, self.query_AD[rows], slope_KA[:, rows], self.query_norm_KA[:, rows])
            elif with_slope:
                slope = slope + (grad_TD * self.query_AD[rows]).sum()
            if totals.after is not None:
                grad_TD.mul_(totals.after)
            if grad_TD.dtype != query_grad_AD.dtype:
                query_grad_AD[rows] = grad_TD.to(query_grad_AD.dtype)
        if self.target_norm_KC is not None:
            slope = slope_KA.sum()
            self._along_the_sphere(target_grad_CD, self.target_CD, slope_KC, self.target_norm_KC)
        if totals.after is not None:
            target_grad_CD.mul_(totals.after)
            slope = slope * totals.after
        return query_grad_AD, target_grad_CD, slope

    def _weights(
        self, tile: Tile, cosines: list[Tensor], totals: _Totals, slope_KA: Tensor, slope_KC: Tensor
    ) -> Iterator[tuple[slice, Tensor]]:
        """dL by the product of each block of dimensions, (T, C), from the last block to the first.

        A block is part of its own prefix and of every longer one. Adds dL/ds * s to the slopes.
        """
        dims, renormalise = self.problem.dims, self.problem.renormalise
        sum_TC: Tensor | None = None
        for number in reversed(range(len(dims))):
            weight_TC = self.elementwise.gradient(
                tile,
                cosines[number],
                totals.log_KA[number],
                totals.log_KC[number],
                totals.pull_KA[number],
                totals.gain,
                consume=not renormalise and self.problem.keep != "scores",
            )
            if renormalise:
                weight_TC = weight_TC.to(self.dtype) * self.problem.weights[number]
                slope_TC = weight_TC * cosines[number]
                slope_KA[number, tile.rows] += slope_TC.sum(1)
                slope_KC[number, tile.columns] += slope_TC.sum(0)
                weight_TC *= self._norms(number, tile)
                sum_TC = weight_TC if sum_TC is None else sum_TC.add_(weight_TC)
                weight_TC = sum_TC.to(self.query_AD.dtype)
            yield slice(dims[number - 1] if number else 0, dims[number]), weight_TC

    def _add(self, weight: Tensor, value: Tensor, grad: Tensor, *, first: bool) -> None:
        """``grad (+)= weight @ value``; the first time what it held is not read."""
        if weight.dtype == self.dtype:
            torch.addmm(grad, weight, value, beta=0 if first else 1, out=grad)
        elif first:
            grad.copy_(self._product(weight, value))
        else:
            grad += self._product(weight, value)

    def _along_the_sphere(self, grad_ND: Tensor, value_ND: Tensor, slope_KN: Tensor, norm_KN: Tensor) -> None:
        """Derivative of each prefix's normalisation: take off the part along the prefix."""
        for dim, slope_N, norm_N in zip(self.problem.dims, slope_KN, norm_KN, strict=True):
            grad_ND[:, :dim] -= (slope_N * norm_N**2)[:, None] * value_ND[:, :dim]

    def _inverse_norms(self, value_ND: Tensor) -> Tensor:
        square_ND = value_ND.to(self.dtype).square()
        square_KN = torch.stack([square_ND[:, :dim].sum(1) for dim in self.problem.dims])
        return square_KN.sqrt().clamp_min(1e-12).reciprocal()

    def _norms(self, number: int, tile: Tile) -> Tensor:
        assert self.query_norm_KA is not None
        assert self.target_norm_KC is not None
        return self.query_norm_KA[number, tile.rows, None] * self.target_norm_KC[number, tile.columns]

    def _product(self, left: Tensor, right: Tensor) -> Tensor:
        if left.dtype == self.dtype:
            return left @ right
        return torch.mm(left, right, out_dtype=self.dtype)

    def _unpack(self, stored: Tensor) -> Tensor:
        return stored if stored.dtype == self.dtype else stored.to(self.dtype).div_(INT16)


def _sums(tiles: _Tiles, problem: _Problem) -> tuple[Tensor, Tensor, Tensor, list[Tensor] | None]:
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
                kept.append(_pack(cosine_TC, problem.keep))
            of_rows, of_columns = tiles.elementwise.sums(tile, cosine_TC, consume=problem.keep != "scores")
            row.add(number, rows, of_rows)
            column.add(number, columns, of_columns)
    if problem.distributed and problem.symmetric:
        column.add_other_processes()
    return row.log(), column.log(), positive_KA.div_(tiles.scores.tau), kept


def _pack(cosine_TC: Tensor, keep: Keep) -> Tensor:
    return cosine_TC if keep == "scores" else (cosine_TC * INT16).round().to(torch.int16)


def _blocks(length: int, side: int) -> Iterator[slice]:
    return (slice(start, min(start + side, length)) for start in range(0, length, side))


def _elementwise(scores: Scores, kernels: Kernels) -> Elementwise:
    if kernels == "torch":
        return TorchElementwise(scores)
    try:
        from llave.losses.triton import TritonElementwise
    except ImportError as error:
        raise ValueError("impl='triton' needs the package triton, or use 'tiled'") from error
    return TritonElementwise(scores)


def _gathered(positive_KA: Tensor, problem: _Problem) -> Tensor:
    """Every pair's positive logit, (K, P)."""
    if not problem.distributed:
        return positive_KA
    parts = [torch.empty_like(positive_KA) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, positive_KA.contiguous())
    return torch.cat(parts, dim=1)
