"""Sums of exponentials, tile by tile and over processes."""

import torch
from torch import Tensor

from llave.losses.elementwise import Sums

__all__ = ["LogSums"]


class LogSums:
    """Running sums of exponentials, as ``total * exp(top)``; without ``top`` where no number can overflow."""

    def __init__(self, like: Tensor, shape: tuple[int, ...], *, bounded: bool) -> None:
        self.total = like.new_zeros(shape)
        self.top = None if bounded else like.new_full(shape, torch.finfo(like.dtype).min)

    def add(self, number: int, part: slice, sums: Sums) -> None:
        """Add a tile's sums to those of a slice; what lies beyond is dropped."""
        total = self.total[number, part]
        size = total.shape[0]
        if self.top is None or sums.top is None:
            total += sums.total[:size]
            return
        top, new = self.top[number, part], sums.top[:size]
        higher = torch.maximum(top, new)
        total.mul_((top - higher).exp()).add_(sums.total[:size] * (new - higher).exp())
        top.copy_(higher)

    def add_other_processes(self) -> None:
        """Numbers, not embeddings: N per slice."""
        if self.top is not None:
            higher = self.top.clone()
            torch.distributed.all_reduce(higher, op=torch.distributed.ReduceOp.MAX)
            self.total, self.top = self.total * (self.top - higher).exp(), higher
        torch.distributed.all_reduce(self.total)

    def log(self) -> Tensor:
        """The logarithms, (slices, length)."""
        return self.total.log() if self.top is None else self.total.log() + self.top
