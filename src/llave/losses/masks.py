"""Which pairs are known positives of one another, by their ids."""

import torch.nn.functional as F
from torch import Tensor

__all__ = ["known_positives"]


def known_positives(
    positive_A: Tensor, num_candidates: int, query_ids: Tensor | None, target_ids: Tensor | None
) -> Tensor | None:
    """Mask (A, C), True where query and candidate are positives of one another by their ids.

    ``query_ids`` covers the first candidates only (extra negatives have no query of their own); both id
    vectors are indexed by ``positive_A``.
    """
    known_AC: Tensor | None = None
    if target_ids is not None:
        known_AC = target_ids[positive_A][:, None] == target_ids[None, :]
    if query_ids is not None:
        same_AB = query_ids[positive_A][:, None] == query_ids[None, :]
        same_AC = F.pad(same_AB, (0, num_candidates - same_AB.shape[1]), value=False)
        known_AC = same_AC if known_AC is None else known_AC | same_AC
    return known_AC
