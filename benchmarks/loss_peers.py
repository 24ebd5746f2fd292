"""What the loss is measured against: the same formula (or InfoNCE where a peer has no more) in others' structures.

Each takes L2-normalised queries and targets (N, D) that require gradients, leaves ``.grad`` on both and returns the
loss. The structures are written here from their descriptions; sentence-transformers' loss is the real one.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from llave.losses.functional import hardness_weighted_loss

__all__ = ["ALPHA", "TEMPERATURE", "Step", "variants"]

TEMPERATURE = 0.02
ALPHA = 9.0
Step = Callable[[Tensor, Tensor], Tensor]


def variants(*, compiled: bool = False, sentence_transformers: bool = True) -> dict[str, Step]:
    """Name -> one forward and backward."""
    steps: dict[str, Step] = {f"llave {impl}": _ours(impl) for impl in ("auto", "stored", "tiled", "reference")}
    if torch.cuda.is_available():
        steps["llave triton"] = _ours("triton")
    steps["llave stored, 16 bits"] = _ours_16
    steps["original arithmetic"] = _original
    steps["eager, one matmul"] = _backward(_eager)
    if compiled:
        steps["eager, compiled"] = _backward(torch.compile(_eager))
    steps["Inf-CL structure"] = _inf_cl
    if sentence_transformers:
        for size in (32, 128, 1024):
            steps[f"CachedMNRL, mini-batch {size}"] = _cached_mnrl(size)
        steps["CachedMNRL, both directions, mini-batch 1024"] = _cached_mnrl(1024, symmetric=True)
    return steps


def _backward(function: Callable[[Tensor, Tensor], Tensor]) -> Step:
    def step(query_ND: Tensor, target_ND: Tensor) -> Tensor:
        loss = function(query_ND, target_ND)
        loss.backward()
        return loss.detach()

    return step


def _ours(impl: str) -> Step:
    return _backward(lambda q, t: hardness_weighted_loss(q, t, temperature=TEMPERATURE, alpha=ALPHA, impl=impl))


def _ours_16(query_ND: Tensor, target_ND: Tensor) -> Tensor:
    from llave.losses.tiled import tiled_loss

    loss = tiled_loss(query_ND, target_ND, temperature=TEMPERATURE, alpha=ALPHA, keep="scores16")
    loss.backward()
    return loss.detach()


def _original(query_ND: Tensor, target_ND: Tensor) -> Tensor:
    """The released code's arithmetic: each direction has its own matmul, weights as log(exp()): six matmuls."""
    labels_N = torch.arange(len(query_ND), device=query_ND.device)
    losses = []
    for anchor_ND, candidate_ND in ((query_ND, target_ND), (target_ND, query_ND)):
        cosine_NN = anchor_ND @ candidate_ND.T
        weight_NN = torch.exp(ALPHA * cosine_NN.detach())
        weight_NN.fill_diagonal_(1.0)
        losses.append(torch.nn.functional.cross_entropy(cosine_NN / TEMPERATURE + weight_NN.log(), labels_N))
    loss = (losses[0] + losses[1]) / 2
    loss.backward()
    return loss.detach()


def _eager(query_ND: Tensor, target_ND: Tensor) -> Tensor:
    """The best plain form: one matmul forward, two backward, float32."""
    cosine_NN = query_ND @ target_ND.T
    cosine_NN = cosine_NN.to(torch.promote_types(cosine_NN.dtype, torch.float32))
    logit_NN = cosine_NN / TEMPERATURE + ALPHA * cosine_NN.detach()
    eye_NN = torch.eye(len(query_ND), dtype=torch.bool, device=query_ND.device)
    logit_NN = torch.where(eye_NN, cosine_NN / TEMPERATURE, logit_NN)
    positive_N = logit_NN.diagonal()
    return (logit_NN.logsumexp(1) + logit_NN.logsumexp(0) - 2 * positive_N).mean() / 2


def _inf_cl(query_ND: Tensor, target_ND: Tensor, rows: int = 256) -> Tensor:
    """Inf-CL (arXiv 2410.17243): per direction one pass for the sums and one for each gradient: ten matmuls."""
    with torch.no_grad():
        query, target = query_ND.detach(), target_ND.detach()
        size = len(query)
        positive_N = (query * target).sum(1) / TEMPERATURE
        total = torch.zeros((), dtype=query.dtype, device=query.device)
        gradients = [torch.zeros_like(query), torch.zeros_like(target)]
        for direction, (anchor, candidate) in enumerate(((query, target), (target, query))):
            log_sum_N = torch.empty_like(positive_N)
            for start in range(0, size, rows):
                part = slice(start, min(start + rows, size))
                log_sum_N[part] = _weighted(anchor, candidate, part, positive_N).logsumexp(1)
            total += (log_sum_N - positive_N).mean() / 2
            for start in range(0, size, rows):  # the anchors' gradient
                part = slice(start, min(start + rows, size))
                share = (_weighted(anchor, candidate, part, positive_N) - log_sum_N[part, None]).exp()
                gradients[direction][part] += share @ candidate - candidate[part]
            for start in range(0, size, rows):  # the candidates' gradient
                part = slice(start, min(start + rows, size))
                share = (_weighted(candidate, anchor, part, positive_N) - log_sum_N).exp()
                gradients[1 - direction][part] += share @ anchor - anchor[part]
        scale = 1 / (2 * size * TEMPERATURE)
        query_ND.grad, target_ND.grad = gradients[0].mul_(scale), gradients[1].mul_(scale)
        return total


def _weighted(anchor_ND: Tensor, candidate_ND: Tensor, part: slice, positive_N: Tensor) -> Tensor:
    logit_TN = anchor_ND[part] @ candidate_ND.T * (1 / TEMPERATURE + ALPHA)
    row = torch.arange(part.stop - part.start, device=anchor_ND.device)
    logit_TN[row, row + part.start] = positive_N[part]
    return logit_TN


def _cached_mnrl(mini_batch_size: int, *, symmetric: bool = False) -> Step:
    """sentence-transformers' CachedMultipleNegativesRankingLoss, its loss stage alone.

    Query to document and unweighted, as it comes; ``symmetric`` asks it for both directions and the weights.
    """
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

    model: Any = torch.nn.Sequential(torch.nn.Identity())  # the loss stage does not call it
    options: dict[str, Any] = {}
    if symmetric:
        options = {
            "directions": ("query_to_doc", "doc_to_query"),
            "partition_mode": "per_direction",
            "hardness_mode": "in_batch_negatives",
            "hardness_strength": ALPHA,
        }
    loss_function = CachedMultipleNegativesRankingLoss(
        model, scale=1 / TEMPERATURE, mini_batch_size=mini_batch_size, **options
    )

    def step(query_ND: Tensor, target_ND: Tensor) -> Tensor:
        columns = [list(side.split(mini_batch_size)) for side in (query_ND, target_ND)]
        loss: Tensor = loss_function.calculate_loss(columns, with_backward=True)
        return loss.detach()

    return step
