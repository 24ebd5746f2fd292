"""Which pairs are known positives of one another, by their ids."""

import torch
from torch import Tensor

__all__ = ["known_positives"]


def known_positives(
    pair_T: Tensor, columns: slice, num_pairs: int, query_ids: Tensor | None, target_ids: Tensor | None
) -> Tensor | None:
    """Mask (T, C), True where anchor and candidate are positives of one another by their ids; None without ids.

    Args:
        pair_T: candidate that is the positive of each anchor; its ids are the anchor's.
        columns: which candidates.
        num_pairs: the first candidates, which have a query of their own; extra negatives behind them have none.
        query_ids: (num_pairs,). target_ids: (all candidates,).
    """
    known_TC: Tensor | None = None
    if target_ids is not None:
        known_TC = target_ids[pair_T][:, None] == target_ids[columns]
    if query_ids is not None:
        same_TC = query_ids[pair_T][:, None] == query_ids[columns.start : min(columns.stop, num_pairs)]
        missing = columns.stop - columns.start - same_TC.shape[1]
        same_TC = torch.nn.functional.pad(same_TC, (0, missing), value=False)
        known_TC = same_TC if known_TC is None else known_TC | same_TC
    return known_TC
