"""Losses over a query's list. Pointwise and LambdaLoss are sentence-transformers'; the listwise one is here."""

from collections.abc import Sequence
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss, LambdaLoss
from sentence_transformers.util import batch_to_device
from torch import Tensor, nn

from llave.rerank.config import NegativesConfig, RankLossConfig

__all__ = ["ListwiseLoss", "build_rank_loss", "listwise"]


def listwise(scores: Sequence[Tensor], scale: float = 1.0) -> Tensor:
    """Mean over queries of the cross-entropy of a softmax over each list, whose first document is the right one.

    ``mean_q [ logsumexp_k(scale * s_qk) - scale * s_q0 ]``, in float32.

    Args:
        scores: (K,) of each query's documents, the positive first; lists may differ in length.
    """
    scaled = [scale * one.float() for one in scores]
    return torch.stack([torch.logsumexp(one, 0) - one[0] for one in scaled]).mean()


class ListwiseLoss(nn.Module):
    """:func:`listwise` for sentence-transformers' ``CrossEncoderTrainer``: all pairs of a batch in one forward pass.

    Args:
        model: the cross-encoder.
        scale: of the scores.
    """

    def __init__(self, model: CrossEncoder, *, scale: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self.scale = scale

    def forward(
        self, inputs: list[list[Any]], labels: Any, prompt: str | None = None, task: str | None = None
    ) -> Tensor:
        """Of queries and their lists of documents, the positive first."""
        queries, lists = inputs
        pairs = [(query, document) for query, found in zip(queries, lists, strict=True) for document in found]
        features = batch_to_device(self.model.preprocess(pairs, prompt=prompt), self.model.device)
        scores = self.model(features)["scores"].view(-1)
        return listwise(scores.split([len(found) for found in lists]), self.scale)

    def get_config_dict(self) -> dict[str, Any]:
        """What sentence-transformers writes in a card."""
        return {"scale": self.scale}


def build_rank_loss(config: RankLossConfig, negatives: NegativesConfig, model: CrossEncoder) -> nn.Module:
    """The loss of a recipe."""
    if config.name == "pointwise":
        weight = config.positive_weight or float(negatives.own + negatives.random)
        return BinaryCrossEntropyLoss(model, pos_weight=torch.tensor(weight, device=model.device))
    if config.name == "lambda":
        return LambdaLoss(model)
    return ListwiseLoss(model, scale=config.scale)
