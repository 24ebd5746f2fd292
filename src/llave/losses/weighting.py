"""Which negatives the hardness weight applies to."""

from typing import Literal, get_args

import torch
from torch import Tensor

__all__ = ["Weighting", "alphas", "own_negatives"]

Weighting = Literal["all", "hard_negatives", "in_batch"]


def alphas(alpha: float, weighting: Weighting) -> tuple[float, float]:
    """Hardness of the negatives that a query finds in the batch, and of its own hard negatives.

    Raises:
        ValueError: no such weighting.
    """
    if weighting not in get_args(Weighting):
        raise ValueError(f"weighting={weighting!r} is not one of {', '.join(get_args(Weighting))}")
    return 0.0 if weighting == "hard_negatives" else alpha, 0.0 if weighting == "in_batch" else alpha


def own_negatives(size: int, num_targets: int, device: torch.device) -> Tensor:
    """Mask (B, M) of each query's own hard negatives: targets ``B * k + i`` of query i, for k = 1, 2, ..."""
    distance_BM = torch.arange(num_targets, device=device) - torch.arange(size, device=device)[:, None]
    return (distance_BM > 0) & (distance_BM % size == 0)
