"""The hardness-weighted loss over MaxSim, for late interaction: columns, labels and GradCache as its parent's.

The embeddings of a sample are its tokens, as many as it has. They travel as one tensor (B, T, D + 1) whose last
channel is 1 where a token counts, so that GradCache, which keeps and differentiates one tensor per mini-batch, does not
have to know; mini-batches of other lengths are padded where they meet.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from sentence_transformers.base import BaseModel
from torch import Tensor

from llave.losses.batch_similarity import QUERIES, score_similarity
from llave.losses.functional import score_loss
from llave.losses.hardness import HardnessWeightedLoss
from llave.losses.maxsim import maxsim

__all__ = ["LateInteractionLoss"]


class LateInteractionLoss(HardnessWeightedLoss):
    """``z_ij = s_ij / tau + alpha * sg(s_ij)`` over ``s``, the mean over query tokens of the best document token.

    Under several processes each computes the loss of all pairs, whose tokens are gathered with gradients.

    Args:
        model: a :class:`llave.models.late.LateModel`, or any ``MultiVectorEncoder``.
        impl: of :func:`llave.losses.maxsim.maxsim`.
        options: ``temperature``, ``alpha``, ``weighting``, ``positive_margin``, ``mini_batch_size``,
            ``mini_batch_num_tokens``, ``gather``, ``shared_ids``, ``vision_reuse_gib``, ``vision_cache_gib``,
            ``keep_graphs`` and ``sort_by_length`` of :class:`HardnessWeightedLoss`.
    """

    def __init__(
        self, model: BaseModel, *, impl: Literal["auto", "reference", "tiled"] = "auto", **options: Any
    ) -> None:
        unknown = options.keys() & {"reward", "teacher", "distill_weight", "matryoshka_dims"}
        if unknown:
            raise ValueError(f"late interaction has no {', '.join(sorted(unknown))}")
        super().__init__(model, impl="reference", **options)  # type: ignore[arg-type]  # of token vectors
        self.maxsim_impl: Literal["auto", "reference", "tiled"] = impl
        self._last_scores: tuple[Tensor, Tensor | None, Tensor | None] | None = None

    def embedding_of(self, part: dict[str, Any]) -> Tensor:
        """Tokens and which of them count, (B, T, D + 1)."""
        features: dict[str, Tensor] = self.model(part)
        tokens_BTD = features["token_embeddings"]
        return torch.cat([tokens_BTD, features["attention_mask"][..., None].to(tokens_BTD.dtype)], dim=2)

    def joined(self, chunks: list[Tensor]) -> Tensor:
        """Mini-batches as one, unit vectors in float32 at least."""
        packed = _padded(chunks)
        packed = packed.to(torch.promote_types(packed.dtype, torch.float32))
        return torch.cat([F.normalize(packed[..., :-1], dim=-1), packed[..., -1:].detach()], dim=2)

    def _loss(self, columns: list[Tensor], ids: list[Tensor] | None) -> Tensor:
        query, *targets = [self._gather(column) for column in columns]
        query_ids, target_ids = self._gathered_ids(ids)
        score_BM = maxsim(*_unpacked(query), *_unpacked(_padded(targets)), impl=self.maxsim_impl)
        finite_BM = score_BM.detach().isfinite()
        if not finite_BM.all():
            row = int((~finite_BM).nonzero()[0, 0])
            raise ValueError(f"scores of query {row} are not finite; lower the learning rate or look at that row")
        self._last_scores = (score_BM.detach()[:QUERIES], query_ids, target_ids)
        return score_loss(
            score_BM,
            temperature=self._scalars["tau"],
            alpha=self.alpha,
            weighting=self.weighting,
            positive_margin=self.positive_margin,
            query_ids=query_ids,
            target_ids=target_ids,
            shared_ids=self.shared_ids,
        )

    def _gather(self, value: Tensor) -> Tensor:
        """Tokens padded to the longest of all processes before they are gathered; ids as they are."""
        if value.ndim == 3 and self._distributed():
            longest = torch.tensor(value.shape[1], device=value.device)
            torch.distributed.all_reduce(longest, op=torch.distributed.ReduceOp.MAX)
            value = F.pad(value, (0, 0, 0, int(longest) - value.shape[1]))
        return super()._gather(value)

    def last_similarity(self) -> dict[str, float]:
        """As of the parent, of scores in place of cosines."""
        if self._last_scores is None:
            return {}
        score_QM, query_ids, target_ids = self._last_scores
        return score_similarity(score_QM, query_ids=query_ids, target_ids=target_ids, shared_ids=self.shared_ids)

    def get_config_dict(self) -> dict[str, Any]:
        """Settings, for the model card."""
        return {**super().get_config_dict(), "impl": self.maxsim_impl, "score": "mean MaxSim"}


def _padded(parts: Sequence[Tensor]) -> Tensor:
    """Tensors (B, T, D) of different T as one."""
    longest = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (0, 0, 0, longest - part.shape[1])) for part in parts])


def _unpacked(packed: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (B, T, D) and their mask (B, T)."""
    return packed[..., :-1], packed[..., -1] > 0.5
