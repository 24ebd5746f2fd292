"""Bad numbers are reported by row before they spread."""

import math

import torch
from torch import Tensor

__all__ = ["check_finite"]


def check_finite(query_AD: Tensor, target_CD: Tensor, positive_A: Tensor, num_pairs: int) -> None:
    """Raise a ValueError that names the first row with a NaN or an infinity.

    A bad number in a pair is in its product too, so that A products tell what A x D numbers would. Extra negatives
    (rows of ``target_CD`` from ``num_pairs`` on) have none, and are looked at themselves.
    """
    total = positive_A.detach().sum()
    if target_CD.shape[0] > num_pairs:
        total = total + target_CD.detach()[num_pairs:].sum(dtype=torch.float32)
    if math.isfinite(total.item()):
        return
    for name, value_ND in (("query", query_AD), ("target", target_CD)):
        finite_N = value_ND.detach().isfinite().all(dim=1)
        if not finite_N.all():
            row = int((~finite_N).nonzero()[0])
            raise ValueError(f"{name} embedding {row} is not finite; lower the learning rate or look at that row")
