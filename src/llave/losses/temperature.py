"""A temperature that is learned: one for all batches, as in CLIP (arXiv 2103.00020), or one for each data set.

The parameter is the logarithm, so that a step of the optimiser is a share of the temperature. It is kept within its
bounds before each use: a gradient that points outwards changes nothing, one that points back is felt at once.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from llave.losses.bounds import LEARNED_TEMPERATURE

__all__ = ["LearnedTemperature"]


class LearnedTemperature(nn.Module):
    """tau of the batch at hand, with a gradient that is the mean over the processes.

    Args:
        start: the temperature to begin with, within :data:`~llave.losses.bounds.LEARNED_TEMPERATURE`.
        names: of the data sets that have a temperature each; one name, or none, is one for all.

    Attributes:
        current: place in ``names`` of the data set whose batch comes next.

    Raises:
        ValueError: a start beyond the bounds.
    """

    def __init__(self, start: float, names: Sequence[str] = ("",)) -> None:
        super().__init__()
        low, high = LEARNED_TEMPERATURE
        if not low <= start <= high:
            raise ValueError(f"a learned temperature must start between {low} and {high}, got {start}")
        self.names = tuple(names) or ("",)
        self.log_K = nn.Parameter(torch.full((len(self.names),), math.log(start)))
        self.current = 0

    def forward(self) -> Tensor:
        """The temperature, a scalar."""
        low, high = LEARNED_TEMPERATURE
        with torch.no_grad():
            self.log_K.clamp_(math.log(low), math.log(high))
        log: Tensor = _MeanOverProcesses.apply(self.log_K[self.current if len(self.names) > 1 else 0])
        return log.exp()

    def values(self) -> dict[str, float]:
        """The temperatures by name."""
        low, high = LEARNED_TEMPERATURE
        return dict(zip(self.names, self.log_K.detach().exp().clamp(low, high).tolist(), strict=True))


class _MeanOverProcesses(torch.autograd.Function):
    """Nothing forward; backward what DistributedDataParallel does for the parameters of a model."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            grad = grad.contiguous() / torch.distributed.get_world_size()
            torch.distributed.all_reduce(grad)
        return grad
