"""Which pairs are known positives of one another, by their ids."""

import torch
from torch import Tensor

__all__ = ["EXCLUDED", "known_positives", "left_out"]

EXCLUDED = -1e4
"""Reward of a pair that shall not count, whatever alpha is and whatever it applies to."""


def left_out(reward: Tensor) -> Tensor:
    """Mask of the pairs whose reward is :data:`EXCLUDED`, in any float type."""
    return reward < EXCLUDED / 2


def known_positives(
    pair_T: Tensor,
    columns: slice,
    num_pairs: int,
    query_ids: Tensor | None,
    target_ids: Tensor | None,
    *,
    shared_ids: bool = False,
) -> Tensor:
    """Mask (T, C), True where anchor and candidate are positives of one another by their ids.

    Args:
        pair_T: candidate that is the positive of each anchor; its ids are the anchor's.
        columns: which candidates.
        num_pairs: the first candidates, which have a query of their own; extra negatives behind them have none.
        query_ids: (num_pairs,). target_ids: (all candidates,).
        shared_ids: an id means the same content in both, so that a candidate may be the very query.
    """
    known_TC = torch.zeros(len(pair_T), columns.stop - columns.start, dtype=torch.bool, device=pair_T.device)
    if target_ids is not None:
        known_TC |= target_ids[pair_T][:, None] == target_ids[columns]
    if query_ids is not None:
        queries = slice(columns.start, min(columns.stop, num_pairs))
        same_TP = query_ids[pair_T][:, None] == query_ids[queries]
        known_TC[:, : same_TP.shape[1]] |= same_TP
    if shared_ids and query_ids is not None and target_ids is not None:
        known_TC |= query_ids[pair_T][:, None] == target_ids[columns]
    return known_TC
