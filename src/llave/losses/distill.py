"""A teacher's row of scores as what a student's should look like: distillation within a batch (arXiv 1503.02531)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from llave.losses.masks import known_positives

__all__ = ["distillation_loss"]


def distillation_loss(
    query_AD: Tensor,
    target_CD: Tensor,
    teacher_AC: Tensor,
    *,
    temperature: float | Tensor,
    teacher_temperature: float,
    offset: int = 0,
    num_pairs: int | None = None,
    query_ids: Tensor | None = None,
    target_ids: Tensor | None = None,
    shared_ids: bool = False,
) -> Tensor:
    """Mean over queries of ``KL(softmax(teacher / teacher_temperature) || softmax(cosine / temperature))``.

    The rows are over all targets but known positives other than the query's own, whose copies would split its share,
    and those that the teacher has no score of.

    Args:
        query_AD, target_CD: L2-normalised; target ``offset + i`` is the positive of query i.
        teacher_AC: the teacher's cosines, without gradient; NaN where it has none; a query without any counts 0.
        temperature: of the student, > 0; a tensor with ``requires_grad`` is learned.
        teacher_temperature: > 0; a teacher whose cosines lie closer together wants a lower one.
        num_pairs, query_ids, target_ids, shared_ids: see :func:`llave.losses.tiled.tiled_loss`.

    Returns:
        A scalar.
    """
    size, number = teacher_AC.shape
    dtype = torch.promote_types(torch.promote_types(query_AD.dtype, target_CD.dtype), torch.float32)
    with torch.autocast(query_AD.device.type, enabled=False):
        pair_A = torch.arange(size, device=query_AD.device) + offset
        pairs = size if num_pairs is None else num_pairs
        out_AC = known_positives(pair_A, slice(0, number), pairs, query_ids, target_ids, shared_ids=shared_ids)
        out_AC.diagonal(offset).fill_(False)
        teacher_AC = teacher_AC.detach().to(dtype)
        out_AC |= teacher_AC.isnan()
        floor = torch.finfo(dtype).min / 4
        log_student_AC = (query_AD.to(dtype) @ target_CD.to(dtype).T / temperature).masked_fill(out_AC, floor)
        log_teacher_AC = (teacher_AC / teacher_temperature).masked_fill(out_AC, floor)
        return F.kl_div(
            log_student_AC.log_softmax(1), log_teacher_AC.log_softmax(1), reduction="batchmean", log_target=True
        )
