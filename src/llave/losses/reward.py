"""Reward models: who says how hard a negative is (arXiv 2503.04812, Eq. 5-7).

LLaVE ties the reward to the policy: hardness is the model's own cosine. The paper's derivation allows any
reward model. Here it can be a function of the two embedding matrices, or a slow-moving copy of the model
(:class:`EMAReward`), whose opinion does not jump with the last step.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

__all__ = ["EMAReward", "RewardFunction"]

RewardFunction = Callable[[Tensor, Tensor], Tensor]
"""(queries (B, D), targets (M, D)) -> reward (B, M); embeddings are detached and L2-normalised."""


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
        frozen = {id(parameter): parameter for parameter in model.parameters() if not parameter.requires_grad}
        self.model = copy.deepcopy(model, memo=dict(frozen)).eval().requires_grad_(False)
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

    @torch.no_grad()
    def embed(self, features: dict[str, Any]) -> Tensor:
        """Embeddings (B, D), L2-normalised float32, of a batch of model inputs."""
        with torch.random.fork_rng(devices=[]):
            embedding = self.model(dict(features))["sentence_embedding"]
        return nn.functional.normalize(embedding.to(torch.promote_types(embedding.dtype, torch.float32)), dim=-1)

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
