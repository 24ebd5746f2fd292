"""Focal-InfoNCE (Hou and Li, arXiv 2310.06918): the rival in LLaVE's ablation (Table 3, row 7).

It bends the cosine itself, ``z_ii = s_ii^2 / tau`` and ``z_ij = s_ij (s_ij + m) / tau``, and the gradient flows through
both factors; LLaVE adds a weight that is constant for the gradient.
"""

from typing import Any

import torch
from torch import Tensor

from llave.losses.functional import contrast
from llave.losses.hardness import HardnessWeightedLoss

__all__ = ["FocalInfoNCELoss", "focal_infonce_loss"]


def focal_infonce_loss(
    query_BD: Tensor,
    target_MD: Tensor,
    *,
    temperature: float | Tensor = 0.05,
    margin: float = 0.3,
    symmetric: bool = True,
    query_ids: Tensor | None = None,
    target_ids: Tensor | None = None,
    shared_ids: bool = False,
) -> Tensor:
    """Mean Focal-InfoNCE loss, in float32 at least.

    Args:
        query_BD: L2-normalised queries.
        target_MD: L2-normalised targets; row i < B is the positive of query i, later rows are hard negatives.
        temperature: tau, > 0.
        margin: m; the authors' value is 0.3.
        symmetric, query_ids, target_ids, shared_ids: see :func:`llave.hardness_weighted_loss`.

    Returns:
        A scalar.
    """
    dtype = torch.promote_types(torch.promote_types(query_BD.dtype, target_MD.dtype), torch.float32)
    with torch.autocast(query_BD.device.type, enabled=False):
        cosine_BM = query_BD.to(dtype) @ target_MD.to(dtype).T
        positive_B = cosine_BM.diagonal().square() / temperature
        logit_BM = cosine_BM * (cosine_BM + margin) / temperature
        return contrast(
            logit_BM,
            positive_B,
            symmetric=symmetric,
            query_ids=query_ids,
            target_ids=target_ids,
            shared_ids=shared_ids,
        )


class FocalInfoNCELoss(HardnessWeightedLoss):
    """Focal-InfoNCE for ``SentenceTransformerTrainer``: columns, labels, GradCache and gathering as its parent's.

    Args:
        margin: m.
        options: ``model``, ``temperature``, ``mini_batch_size``, ``mini_batch_num_tokens``, ``gather`` and
            ``vision_reuse_gib`` of :class:`HardnessWeightedLoss`.
    """

    def __init__(self, *args: Any, margin: float = 0.3, **options: Any) -> None:
        super().__init__(*args, alpha=0.0, impl="reference", **options)
        self.margin = margin

    def _whole_loss(
        self, query_BD: Tensor, target_MD: Tensor, query_ids: Tensor | None, target_ids: Tensor | None, *, impl: str
    ) -> Tensor:
        return focal_infonce_loss(
            query_BD,
            target_MD,
            temperature=self._scalars["tau"],
            margin=self.margin,
            query_ids=query_ids,
            target_ids=target_ids,
            shared_ids=self.shared_ids,
        )

    def get_config_dict(self) -> dict[str, Any]:
        """Settings, for the model card."""
        return {**super().get_config_dict(), "margin": self.margin}
