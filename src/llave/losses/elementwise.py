"""The element-wise half of the tiled loss: from a tile of cosines to its sums, and to its gradient.

The matrix products are in :mod:`llave.losses.tiled`; :mod:`llave.losses.triton` does the same as here in one pass over
a tile for a GPU. Needs torch alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from llave.losses.masks import known_positives, left_out

__all__ = ["Elementwise", "Scores", "Sums", "Tile", "TorchElementwise"]


@dataclass(frozen=True, slots=True)
class Tile:
    """Where a tile of scores lies: which anchors, which candidates."""

    rows: slice
    columns: slice


class Sums(NamedTuple):
    """Sums of ``exp(z - top)``; ``top`` is None where it is 0."""

    total: Tensor
    top: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How a cosine becomes a logit: ``z = s/tau + alpha*r``, and -inf for the positive and known positives.

    Candidate ``offset + i`` is the positive of anchor i; candidates ``num_pairs``, ``2 * num_pairs``, ... behind it are
    its own hard negatives, with ``own_alpha`` for alpha. ``dtype`` is that of the sums, ``grad_dtype`` that of a tile's
    gradient.
    """

    tau: float
    alpha: float
    own_alpha: float
    offset: int
    num_candidates: int
    num_pairs: int
    reward_AC: Tensor | None
    query_ids: Tensor | None
    target_ids: Tensor | None
    shared_ids: bool
    dtype: torch.dtype
    grad_dtype: torch.dtype

    @property
    def bounded(self) -> bool:
        """Whether ``|s| <= 1`` keeps every sum of exponentials within the number range: no maximum is needed then."""
        limit = math.log(torch.finfo(self.dtype).max) - 4
        beta = 1 / self.tau + max(self.alpha, self.own_alpha)
        return self.reward_AC is None and beta + math.log(self.num_candidates) < limit

    def positives(self, tile: Tile) -> slice:
        """Anchors whose positive lies in the tile."""
        start = max(tile.rows.start, tile.columns.start - self.offset)
        stop = min(tile.rows.stop, tile.columns.stop - self.offset)
        return slice(start, max(start, stop))

    def diagonal(self, tile: Tile, tile_TC: Tensor) -> Tensor:
        """View of the tile's positives; empty where there are none."""
        return tile_TC.diagonal(self.offset + tile.rows.start - tile.columns.start)

    def own_negatives(self, tile: Tile, tile_TC: Tensor) -> Iterator[Tensor]:
        """Views of the tile's own hard negatives, some of them empty."""
        first = self.offset + tile.rows.start - tile.columns.start
        for behind in range(self.num_pairs, self.num_candidates, self.num_pairs):
            yield tile_TC.diagonal(first + behind)


class Elementwise(Protocol):
    """Sums and gradients of tiles. ``consume``: the tile of cosines may be overwritten."""

    def sums(self, tile: Tile, cosine_TC: Tensor, *, consume: bool) -> tuple[Sums, Sums]:
        """Of the rows and of the columns."""
        ...

    def gradient(
        self,
        tile: Tile,
        cosine_TC: Tensor,
        log_total_A: Tensor,
        log_total_C: Tensor,
        pull_A: Tensor,
        gain: Tensor,
        *,
        consume: bool,
    ) -> Tensor:
        """``gain * exp(z) * (exp(-log_total_i) + exp(-log_total_j))``, and ``-gain * pull`` at the positives."""
        ...


class TorchElementwise:
    """In torch operations, for every device."""

    def __init__(self, scores: Scores) -> None:
        self.scores = scores

    def sums(self, tile: Tile, cosine_TC: Tensor, *, consume: bool) -> tuple[Sums, Sums]:
        """See :class:`Elementwise`."""
        logit_TC = self._logits(tile, cosine_TC, consume=consume)
        if self.scores.bounded:
            weight_TC = logit_TC.exp_()
            return Sums(weight_TC.sum(1), None), Sums(weight_TC.sum(0), None)
        floor = torch.finfo(logit_TC.dtype).min
        top_T, top_C = logit_TC.amax(1).clamp_min(floor), logit_TC.amax(0).clamp_min(floor)
        total_T = (logit_TC - top_T[:, None]).exp_().sum(1)
        return Sums(total_T, top_T), Sums((logit_TC - top_C).exp_().sum(0), top_C)

    def gradient(
        self,
        tile: Tile,
        cosine_TC: Tensor,
        log_total_A: Tensor,
        log_total_C: Tensor,
        pull_A: Tensor,
        gain: Tensor,
        *,
        consume: bool,
    ) -> Tensor:
        """See :class:`Elementwise`."""
        logit_TC = self._logits(tile, cosine_TC, consume=consume)
        log_total_T, log_total_C = log_total_A[tile.rows, None], log_total_C[tile.columns]
        if self.scores.bounded:
            # The factors of N numbers each, before they become one of N x N.
            grad_TC = logit_TC.exp_().mul_((-log_total_T).exp() * gain + (-log_total_C).exp() * gain)
        else:
            grad_TC = ((logit_TC - log_total_T).exp_() + (logit_TC - log_total_C).exp_()).mul_(gain)
        self.scores.diagonal(tile, grad_TC).copy_(pull_A[self.scores.positives(tile)] * -gain)
        return grad_TC.to(self.scores.grad_dtype)

    def _logits(self, tile: Tile, cosine_TC: Tensor, *, consume: bool) -> Tensor:
        scores = self.scores
        logit_TC = cosine_TC if consume else cosine_TC.clone()
        reward_TC = cosine_TC
        if scores.reward_AC is not None:
            reward_TC = scores.reward_AC[tile.rows, tile.columns].to(logit_TC.dtype)
        own = []
        if scores.own_alpha != scores.alpha:  # before the cosines are overwritten
            own = [part * (scores.own_alpha - scores.alpha) for part in scores.own_negatives(tile, reward_TC)]
        if scores.reward_AC is None:
            logit_TC.mul_(1 / scores.tau + scores.alpha)
        else:
            logit_TC.div_(scores.tau).add_(reward_TC, alpha=scores.alpha)
        for part, more in zip(scores.own_negatives(tile, logit_TC), own, strict=False):
            part += more
        if scores.reward_AC is not None:
            logit_TC.masked_fill_(left_out(reward_TC), -torch.inf)
        if scores.query_ids is not None or scores.target_ids is not None:
            pair_T = torch.arange(tile.rows.start, tile.rows.stop, device=logit_TC.device) + scores.offset
            known_TC = known_positives(
                pair_T,
                tile.columns,
                scores.num_pairs,
                scores.query_ids,
                scores.target_ids,
                shared_ids=scores.shared_ids,
            )
            logit_TC.masked_fill_(known_TC, -torch.inf)
        self.scores.diagonal(tile, logit_TC).fill_(-torch.inf)
        return logit_TC
