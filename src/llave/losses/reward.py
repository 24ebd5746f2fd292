"""Reward models: who says how hard a negative is (arXiv 2503.04812, Eq. 5-7).

LLaVE ties the reward to the policy: hardness is the model's own cosine. The paper's derivation allows any reward model.
Here it can be a function of the two embedding matrices; the cosine scaled or cut (:class:`NormalizedReward`,
:class:`MaskedReward`); or another model that embeds the batch too: a slow-moving copy (:class:`EMAReward`), or the
texts alone as the model read them before training (:class:`TextReward`).
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from llave.losses.masks import EXCLUDED

__all__ = [
    "CosineReward",
    "EMAReward",
    "EmbeddingReward",
    "MaskedReward",
    "NormalizedReward",
    "RewardFunction",
    "TextReward",
]

RewardFunction = Callable[[Tensor, Tensor], Tensor]
"""(queries (B, D), targets (M, D)) -> reward (B, M); embeddings are detached and L2-normalised."""


class CosineReward(Protocol):
    """A reward made of the batch's cosines."""

    def of_cosines(self, cosine_BM: Tensor, positive_B: Tensor, alpha: float) -> Tensor:
        """Reward (B, M); ``positive_B`` is the column of each row's positive, ``alpha`` the loss's."""
        ...


@runtime_checkable
class EmbeddingReward(Protocol):
    """A reward that embeds the batch by itself."""

    def embed(self, features: dict[str, Any]) -> Tensor:
        """Embeddings (B, D) of a column of model inputs, without gradient."""
        ...

    def matrix(
        self, own: Sequence[Tensor], everyone: Sequence[Tensor], cosine_BM: Tensor, positive_B: Tensor, alpha: float
    ) -> Tensor:
        """Reward (B, M) of this process's rows with all targets.

        Args:
            own, everyone: what :meth:`embed` made of the columns [query, positive, negative, ...], of this process and
                of all.
            cosine_BM, positive_B, alpha: see :class:`CosineReward`.
        """
        ...


@dataclass(frozen=True, slots=True)
class NormalizedReward:
    """The cosine less a constant per query, so that the weights of its negatives have the mean 1.

    LLaVE's weights ``exp(alpha * s)`` are above 1 wherever s > 0: besides telling hard from easy they ask every
    positive to win by about ``alpha * tau * s``. This keeps the first effect without the second, as in the
    hard-negative sampling of Robinson et al. (arXiv 2010.04592).
    """

    def of_cosines(self, cosine_BM: Tensor, positive_B: Tensor, alpha: float) -> Tensor:
        """See :class:`CosineReward`."""
        return _with_mean_weight_one(cosine_BM, positive_B, alpha)


@dataclass(frozen=True, slots=True)
class MaskedReward:
    """The cosine, but a negative that beats its query's positive by more than ``margin`` does not count at all.

    Such a negative is probably a false one (Qwen3-Embedding, arXiv 2506.05176, uses a margin of 0.1).
    """

    margin: float

    def of_cosines(self, cosine_BM: Tensor, positive_B: Tensor, alpha: float) -> Tensor:
        """See :class:`CosineReward`."""
        limit_B1 = cosine_BM.gather(1, positive_B[:, None]) + self.margin
        return cosine_BM.masked_fill(cosine_BM > limit_B1, EXCLUDED)


class EMAReward:
    """An exponential moving average of a model, whose cosines are the reward.

    Args:
        model: the model in training; its frozen parameters (the vision tower) are shared, not copied.
        decay: weight of the past at each optimiser step, in [0, 1). 0 is the model itself.
    """

    def __init__(self, model: SentenceTransformer, *, decay: float = 0.99) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        self.decay = decay
        self.policy = model
        self.model = _frozen_copy(model)
        self._seen = self._versions()

    def _versions(self) -> int:
        return sum(parameter._version for parameter in self.policy.parameters() if parameter.requires_grad)

    @torch.no_grad()
    def follow(self) -> None:
        """Move towards the policy, once per optimiser step however often this is called."""
        versions = self._versions()
        if versions == self._seen:
            return
        self._seen = versions
        for average, current in zip(self.model.parameters(), self.policy.parameters(), strict=True):
            if current.requires_grad:
                average.lerp_(current.to(average.dtype), 1.0 - self.decay)

    def embed(self, features: dict[str, Any]) -> Tensor:
        """Embeddings (B, D), L2-normalised float32, of a batch of model inputs."""
        return _embed(self.model, features)

    def matrix(
        self, own: Sequence[Tensor], everyone: Sequence[Tensor], cosine_BM: Tensor, positive_B: Tensor, alpha: float
    ) -> Tensor:
        """See :class:`EmbeddingReward`."""
        return own[0] @ torch.cat(list(everyone[1:])).T

    def state_dict(self) -> dict[str, Tensor]:
        """Trainable weights of the average, for a checkpoint."""
        trainable = {name for name, parameter in self.policy.named_parameters() if parameter.requires_grad}
        return {name: value for name, value in self.model.named_parameters() if name in trainable}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the average from :meth:`state_dict`."""
        parameters = dict(self.model.named_parameters())
        for name, value in state.items():
            parameters[name].copy_(value)
        self._seen = self._versions()


class TextReward:
    """The cosine less the likeness of the two pairs' texts, as the model read them before training.

    A negative whose texts say nearly what the positive's say is probably a false one, and weighs less. Pictures are
    left out. The weights of a query's negatives have the mean 1, as in :class:`NormalizedReward`, so that a column
    whose texts are all the same changes nothing.

    Args:
        model: the model before its first step, which is copied; frozen parameters are shared.
    """

    def __init__(self, model: SentenceTransformer) -> None:
        self.model = _frozen_copy(model)
        self.image_token = getattr(getattr(model[0].model, "config", None), "image_token_id", None)

    def embed(self, features: dict[str, Any]) -> Tensor:
        """Embeddings (B, D), L2-normalised float32, of the texts of a batch of model inputs."""
        text: dict[str, Any] = {
            name: features[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in features
        }
        if self.image_token is not None:
            text["attention_mask"] = text["attention_mask"] * (text["input_ids"] != self.image_token)
        return _embed(self.model, text)

    def matrix(
        self, own: Sequence[Tensor], everyone: Sequence[Tensor], cosine_BM: Tensor, positive_B: Tensor, alpha: float
    ) -> Tensor:
        """See :class:`EmbeddingReward`."""
        of_targets_BM = own[1] @ torch.cat(list(everyone[1:])).T
        # Hard negatives behind the pairs have no query of their own: it is the row's.
        extra = len(of_targets_BM[0]) - len(everyone[0])
        of_queries_BM = nn.functional.pad(own[0] @ everyone[0].T, (0, extra), value=1.0)
        return _with_mean_weight_one(cosine_BM - (of_queries_BM + of_targets_BM) / 2, positive_B, alpha)


def _with_mean_weight_one(reward_BM: Tensor, positive_B: Tensor, alpha: float) -> Tensor:
    """The reward less a constant per row: ``exp(alpha * reward)`` has the mean 1 over the row's negatives."""
    if alpha == 0 or reward_BM.shape[1] == 1:
        return reward_BM
    negative_BM = reward_BM.scatter(1, positive_B[:, None], -torch.inf)
    log_mean_B = (alpha * negative_BM).logsumexp(1) - math.log(reward_BM.shape[1] - 1)
    return reward_BM - log_mean_B[:, None] / alpha


def _frozen_copy(model: SentenceTransformer) -> SentenceTransformer:
    """A copy in evaluation mode; parameters that are not trained are shared."""
    frozen = {id(parameter): parameter for parameter in model.parameters() if not parameter.requires_grad}
    return copy.deepcopy(model, memo=dict(frozen)).eval().requires_grad_(False)


@torch.no_grad()
def _embed(model: SentenceTransformer, features: dict[str, Any]) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        embedding = model(dict(features))["sentence_embedding"]
    return nn.functional.normalize(embedding.to(torch.promote_types(embedding.dtype, torch.float32)), dim=-1)
