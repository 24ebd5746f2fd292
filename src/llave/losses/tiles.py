"""The matrix products of the tiled loss: the cosines of every tile, and the gradients from them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from llave.losses.elementwise import Elementwise, Scores, Tile, TorchElementwise

__all__ = ["Keep", "Kernels", "Problem", "Tiles", "Totals", "packed"]

Keep = Literal["nothing", "scores", "scores16"]
Kernels = Literal["torch", "triton"]
INT16 = 32767.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is computed, apart from the tensors; see :func:`llave.losses.tiled.tiled_loss`."""

    alpha: float
    own_alpha: float
    positive_margin: float
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


class Totals(NamedTuple):
    """What pass 2 knows from pass 1: log(r + p), log(c + p), the positives' pull, and the common factor's two parts."""

    log_KA: Tensor
    log_KC: Tensor
    pull_KA: Tensor
    gain: Tensor
    after: Tensor | None


class Tiles:
    """The matrix products of all tiles."""

    def __init__(self, query_AD: Tensor, target_CD: Tensor, tau: float, problem: Problem) -> None:
        self.dtype = torch.promote_types(torch.promote_types(query_AD.dtype, target_CD.dtype), torch.float32)
        # A GPU multiplies 16-bit numbers into float32; a CPU is faster with float32 from the start.
        native = query_AD.device.type == "cuda" and query_AD.dtype == target_CD.dtype
        self.query_AD = query_AD if native else query_AD.to(self.dtype)
        self.target_CD = target_CD if native else target_CD.to(self.dtype)
        self.problem = problem
        self.scores = Scores(
            tau=tau,
            alpha=problem.alpha,
            own_alpha=problem.own_alpha,
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
        self, totals: Totals, kept: list[Tensor] | None, *, with_slope: bool
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
        self, tile: Tile, cosines: list[Tensor], totals: Totals, slope_KA: Tensor, slope_KC: Tensor
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


def packed(cosine_TC: Tensor, keep: Keep) -> Tensor:
    """Cosines as they are kept between the two passes."""
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
