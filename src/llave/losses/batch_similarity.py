"""How far positives and negatives of a training batch are apart: the paper's similarity gap, while training runs."""

import torch
from torch import Tensor

from llave.losses.masks import known_positives

__all__ = ["batch_similarity", "score_similarity"]

QUERIES = 256
"""Queries that are looked at; the mean over more would hardly differ."""
EXTREMES = 5
"""Negatives per query in "hard" and "easy", as in the paper's Table 1."""


@torch.no_grad()
def batch_similarity(
    query_BD: Tensor,
    target_MD: Tensor,
    *,
    offset: int = 0,
    query_ids: Tensor | None,
    target_ids: Tensor | None,
    shared_ids: bool = False,
) -> dict[str, float]:
    """Mean cosines and accuracy within a batch.

    Args:
        query_BD, target_MD: L2-normalised; target ``offset + i`` is the positive of query i.
        query_ids, target_ids: ids of all pairs' queries and of all targets; known positives are no negatives.
        shared_ids: both are of one space.

    Returns:
        ``positive``, ``hard`` (mean of the 5 most similar negatives), ``easy`` (of the 5 least similar), ``gap``
        (positive - hard) and ``batch_accuracy`` (share of positives above all negatives). Empty without negatives.
    """
    return score_similarity(
        query_BD[:QUERIES].float() @ target_MD.float().T,
        offset=offset,
        query_ids=query_ids,
        target_ids=target_ids,
        shared_ids=shared_ids,
    )


@torch.no_grad()
def score_similarity(
    score_QM: Tensor,
    *,
    offset: int = 0,
    query_ids: Tensor | None,
    target_ids: Tensor | None,
    shared_ids: bool = False,
) -> dict[str, float]:
    """The same of given scores."""
    num_queries, num_targets = score_QM.shape
    pair_Q = torch.arange(num_queries, device=score_QM.device) + offset
    num_pairs = num_targets if query_ids is None else len(query_ids)
    columns = slice(0, num_targets)
    ignored_QM = known_positives(pair_Q, columns, num_pairs, query_ids, target_ids, shared_ids=shared_ids)
    ignored_QM[torch.arange(num_queries, device=score_QM.device), pair_Q] = True
    counted_Q = (~ignored_QM).sum(1) > 0
    if not counted_Q.any():
        return {}
    number = min(EXTREMES, int((~ignored_QM).sum(1)[counted_Q].min()))
    positive_Q = score_QM.gather(1, pair_Q[:, None]).squeeze(1)[counted_Q]
    hard_Q5 = score_QM.masked_fill(ignored_QM, -torch.inf)[counted_Q].topk(number, dim=1).values
    easy_Q5 = score_QM.masked_fill(ignored_QM, torch.inf)[counted_Q].topk(number, dim=1, largest=False).values
    means = torch.stack(
        [positive_Q.mean(), hard_Q5.mean(), easy_Q5.mean(), (positive_Q > hard_Q5[:, 0]).float().mean()]
    ).tolist()
    positive, hard, easy, accuracy = means
    return {"positive": positive, "hard": hard, "easy": easy, "gap": positive - hard, "batch_accuracy": accuracy}
