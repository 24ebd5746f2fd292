"""A frozen model that knows better which negatives are none: its vectors, looked up by content id.

A student cannot tell a false negative from a hard one by its own scores. A teacher's are taken before training, so that
a step costs a lookup and one product, whatever the teacher's size. Needs torch alone.
"""

import torch
from torch import Tensor

__all__ = ["TeacherVectors"]


class TeacherVectors:
    """Unit vectors of queries and targets by their content ids.

    Args:
        query_ids, target_ids: (Q,) and (T,) int64, each once, in any order.
        query_QE, target_TE: their vectors, of the teacher's own E dimensions; NaN for an item that has none.
    """

    def __init__(self, query_ids: Tensor, query_QE: Tensor, target_ids: Tensor, target_TE: Tensor) -> None:
        self._query = _Table(query_ids, query_QE)
        self._target = _Table(target_ids, target_TE)

    def pairs(self, query_ids: Tensor, target_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (B, E) and (M, E) of queries and of targets, in float32 on their ids' devices; NaN where is none."""
        return self._query.find(query_ids), self._target.find(target_ids)

    def scores(self, query_ids: Tensor, target_ids: Tensor) -> Tensor:
        """Cosines (B, M) of ids of shape (B,) and (M,), in float32 on their device; NaN where one has no vector."""
        query_BE, target_ME = self.pairs(query_ids, target_ids)
        return query_BE @ target_ME.T


class _Table:
    def __init__(self, ids: Tensor, vector_NE: Tensor) -> None:
        order = ids.argsort()
        self.ids, self.vector_NE = ids[order], vector_NE[order]

    def find(self, ids: Tensor) -> Tensor:
        wanted = ids.to(self.ids.device).contiguous()
        place = torch.searchsorted(self.ids, wanted).clamp_max(len(self.ids) - 1)
        found = self.vector_NE[place].float()
        return found.masked_fill((self.ids[place] != wanted)[:, None], torch.nan).to(ids.device)
