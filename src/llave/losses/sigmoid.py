"""SigLIP's sigmoid loss (Zhai et al., arXiv 2303.15343): every pair is a yes or no of its own, without a softmax."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from llave.losses.hardness import HardnessWeightedLoss
from llave.losses.masks import known_positives

__all__ = ["SigmoidLoss", "sigmoid_loss"]


def sigmoid_loss(
    query_BD: Tensor,
    target_MD: Tensor,
    *,
    scale: float | Tensor,
    bias: float | Tensor,
    query_ids: Tensor | None = None,
    target_ids: Tensor | None = None,
    shared_ids: bool = False,
) -> Tensor:
    """``-sum_ij log sigmoid(y_ij (scale * s_ij + bias)) / B`` with y = 1 for a query's positive, otherwise -1;
    known positives do not count.

    Args:
        query_BD: L2-normalised queries; computed in float32 at least.
        target_MD: L2-normalised targets; row i < B is the positive of query i, later rows are hard negatives.
        scale, bias: of the cosine; tensors with ``requires_grad`` are learned.
        query_ids, target_ids, shared_ids: see :func:`llave.hardness_weighted_loss`; known positives do not count.

    Returns:
        A scalar.
    """
    dtype = torch.promote_types(torch.promote_types(query_BD.dtype, target_MD.dtype), torch.float32)
    with torch.autocast(query_BD.device.type, enabled=False):
        logit_BM = query_BD.to(dtype) @ target_MD.to(dtype).T * scale + bias
        size, num_targets = logit_BM.shape
        pair_B = torch.arange(size, device=logit_BM.device)
        columns = slice(0, num_targets)
        known_BM = known_positives(pair_B, columns, size, query_ids, target_ids, shared_ids=shared_ids)
        known_BM[pair_B, pair_B] = True
        negative = F.softplus(logit_BM).masked_fill(known_BM, 0.0).sum()
        return (negative + F.softplus(-logit_BM.diagonal()).sum()) / size


class SigmoidLoss(HardnessWeightedLoss):
    """The sigmoid loss for ``SentenceTransformerTrainer``: columns, labels, GradCache and gathering as its parent's.

    Scale and bias are the model's own (``logit_scale``, ``logit_bias``: SigLIP), learned and saved with it; for other
    models they stay at ``1 / temperature`` and ``bias``.

    Args:
        bias: where the model has none; the authors start at -10.
        options: ``model``, ``temperature``, ``mini_batch_size``, ``mini_batch_num_tokens``, ``gather`` and
            ``vision_reuse_gib`` of :class:`HardnessWeightedLoss`.
    """

    def __init__(self, *args: Any, bias: float = -10.0, **options: Any) -> None:
        super().__init__(*args, alpha=0.0, impl="reference", **options)
        self.bias = bias

    def _read_scalars(self) -> dict[str, float | Tensor]:
        network: Any = self._network()
        if isinstance(getattr(network, "logit_bias", None), torch.nn.Parameter):
            return {"scale": network.logit_scale.exp(), "bias": network.logit_bias.clone()}
        return {"scale": 1 / float(super()._read_scalars()["tau"]), "bias": self.bias}

    def _whole_loss(
        self, query_BD: Tensor, target_MD: Tensor, query_ids: Tensor | None, target_ids: Tensor | None, *, impl: str
    ) -> Tensor:
        return sigmoid_loss(
            query_BD,
            target_MD,
            scale=self._scalars["scale"],
            bias=self._scalars["bias"],
            query_ids=query_ids,
            target_ids=target_ids,
            shared_ids=self.shared_ids,
        )

    def get_config_dict(self) -> dict[str, Any]:
        """Settings, for the model card."""
        return {**super().get_config_dict(), "bias": self.bias}
