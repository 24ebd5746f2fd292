"""Who says how hard a negative is, and which are none: a reward and a teacher, over the pairs of all processes."""

from typing import Any, Literal

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import all_gather_with_grad
from torch import Tensor

from llave.losses.cached_step import CachedStep
from llave.losses.masks import EXCLUDED
from llave.losses.reward import CosineReward, EmbeddingReward, RewardFunction
from llave.losses.teacher import TeacherVectors

__all__ = ["JudgedStep", "Reward"]

Reward = Literal["self"] | RewardFunction | CosineReward | EmbeddingReward


class JudgedStep(CachedStep):
    """A step whose negatives are judged.

    Args:
        model: the model to train.
        reward, teacher, teacher_margin, gather: see :class:`llave.losses.hardness.HardnessWeightedLoss`.
        options: of :class:`llave.losses.cached_step.CachedStep`.
    """

    alpha: float

    def __init__(
        self,
        model: SentenceTransformer,
        *,
        reward: Reward,
        teacher: TeacherVectors | None,
        teacher_margin: float | None,
        gather: bool,
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        self.reward = reward
        self.teacher = teacher
        self.teacher_margin = teacher_margin
        self.gather = gather
        self._reward_embeddings: list[Tensor] | None = None
        self._share_left_out: Tensor | None = None

    def before_loss(self, features: list[dict[str, Any]]) -> None:
        """The reward embeds what the model embeds, in the same pieces."""
        if isinstance(self.reward, EmbeddingReward):
            reward = self.reward
            embedded = [torch.cat([reward.embed(part) for part in self.minibatches(column)]) for column in features]
            self._reward_embeddings = self.in_rows(embedded)

    @torch.no_grad()
    def _reward_matrix(
        self,
        query_BD: Tensor,
        target_MD: Tensor,
        *,
        offset: int,
        query_ids: Tensor | None,
        target_ids: Tensor | None,
    ) -> Tensor | None:
        """Reward of these queries with all targets; target ``offset + i`` is the positive of query i."""
        reward_BM = self._reward_of(query_BD, target_MD, offset=offset)
        if self.teacher is None or self.teacher_margin is None:
            return reward_BM
        score_BM = self._teacher_scores(query_ids, target_ids, slice(offset, offset + len(query_BD)))
        above_BM = score_BM > score_BM.diagonal(offset)[:, None] - self.teacher_margin
        above_BM.diagonal(offset).fill_(False)
        self._share_left_out = above_BM.float().mean()
        return (query_BD @ target_MD.T if reward_BM is None else reward_BM).masked_fill(above_BM, EXCLUDED)

    def _teacher_scores(self, query_ids: Tensor | None, target_ids: Tensor | None, pairs: slice) -> Tensor:
        """Of these pairs' queries with all targets."""
        if self.teacher is None:
            raise ValueError("distillation needs a teacher")
        if query_ids is None or target_ids is None:
            raise ValueError("a teacher finds its vectors by ids: give labels with one id per column")
        return self.teacher.scores(query_ids[pairs], target_ids)

    def _reward_of(self, query_BD: Tensor, target_MD: Tensor, *, offset: int) -> Tensor | None:
        """What the reward says, None for the cosine."""
        if self.reward == "self":
            return None
        if not isinstance(self.reward, EmbeddingReward) and callable(self.reward):
            return self.reward(query_BD, target_MD)
        cosine_BM = query_BD @ target_MD.T
        positive_B = torch.arange(len(query_BD), device=query_BD.device) + offset
        if isinstance(self.reward, EmbeddingReward):
            assert self._reward_embeddings is not None
            everyone = [self._gather(column) for column in self._reward_embeddings]
            pairs = slice(offset, offset + len(query_BD))
            own = [column[pairs] for column in everyone]
            return self.reward.matrix(own, everyone, cosine_BM, positive_B, self.alpha)
        return self.reward.of_cosines(cosine_BM, positive_B, self.alpha)

    def _distributed(self) -> bool:
        return self.gather and torch.distributed.is_available() and torch.distributed.is_initialized()

    def _gather(self, value: Tensor) -> Tensor:
        return all_gather_with_grad(value) if self._distributed() else value
