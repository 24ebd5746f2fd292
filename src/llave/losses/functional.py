"""The hardness-weighted contrastive loss of LLaVE (arXiv 2503.04812, Eq. 8) as a pure function.

Needs torch alone. ``B`` queries, ``M >= B`` targets (target i is the positive of query i; targets from B on
are extra negatives), ``D`` dimensions. The paper writes the query-to-target direction; the released code
weights both, and so do we.

The loss of one row is ``log(1 + sum_j exp(z_j - z_pos))``. Written as ``softplus(logsumexp(z_neg) - z_pos)``
it keeps its value and gradient when it is tiny; a cross-entropy over all logits would round both away
(``1 + 1e-9 == 1`` in float32).
"""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from llave.losses.finite import check_finite
from llave.losses.masks import known_positives, left_out
from llave.losses.tiled import tiled_loss
from llave.losses.weighting import Weighting, alphas, own_negatives

__all__ = [
    "IMPLEMENTATIONS",
    "TILED",
    "check_margin",
    "check_matryoshka",
    "choose_implementation",
    "contrast",
    "hardness_weighted_loss",
    "score_loss",
]

TILED: dict[str, dict[str, Any]] = {
    "tiled": {"keep": "nothing"},
    "stored": {"keep": "scores"},
    "triton": {"keep": "nothing", "kernels": "triton"},
}
"""Options of :func:`llave.losses.tiled.tiled_loss` for each implementation that is a form of it."""
IMPLEMENTATIONS = ("auto", "reference", *TILED)
SMALL = 256 * 256
"""Pairs below which plain autograd is the fastest, or as fast as any."""
STORED_SHARE = 0.25
"""``auto`` keeps the scores while they fit this share of the device's free memory."""
UNASKED = 16 << 20
"""Bytes for which ``auto`` does not ask how much memory is free."""


def hardness_weighted_loss(
    query_BD: Tensor,
    target_MD: Tensor,
    *,
    temperature: float | Tensor = 0.02,
    alpha: float = 9.0,
    weighting: Weighting = "all",
    positive_margin: float = 0.0,
    symmetric: bool = True,
    reward_BB: Tensor | None = None,
    query_ids: Tensor | None = None,
    target_ids: Tensor | None = None,
    shared_ids: bool = False,
    matryoshka_dims: Sequence[int] | None = None,
    matryoshka_weights: Sequence[float] | None = None,
    impl: str = "auto",
) -> Tensor:
    """Mean contrastive loss in which every negative weighs ``exp(alpha * reward)``; positives are unweighted.

    Args:
        query_BD: L2-normalised queries. Any float dtype; computed in float32 (float64 stays float64).
        target_MD: L2-normalised targets; row i < B is the positive of query i, later rows are hard negatives.
        temperature: tau, > 0; a tensor with ``requires_grad`` is learned.
        alpha: hardness, >= 0; 0 is InfoNCE.
        weighting: which negatives weigh ``exp(alpha * reward)`` and not 1: "all" (LLaVE), "hard_negatives" (a query's
            own: targets ``B * k + i`` for k >= 1; arXiv 2509.20354) or "in_batch" (all but these).
        positive_margin: m in [0, 1): a positive's logit is ``(s - m * sg(s)) / tau``, so that its value has to win by a
            share of itself while its gradient stays.
        symmetric: also score each positive target against all queries, and average the two directions.
        reward_BB: hardness of each pair (B, M), without gradient; default is the cosine itself (LLaVE).
            A pair of reward -1e4 is left out of the negatives, whatever alpha.
        query_ids, target_ids: integer ids of shape (B,) and (M,). Pairs that share a query id or a target id
            are positives of one another and are left out of the negatives, in both directions.
        shared_ids: query and target ids are of one space: a target with the id of a query is the same content, and
            no negative of it, in both directions.
        matryoshka_dims: prefixes of the embedding that are normalised and scored too (arXiv 2205.13147); the loss is
            the sum over these. Name the whole D among them to train it. Default: the whole alone, as it is.
        matryoshka_weights: weight of each prefix; default 1.
        impl: ``"reference"`` (plain autograd, about 30 bytes x B x M), ``"tiled"`` (no B x M tensor), ``"stored"``
            (4 bytes x B x M, faster), ``"triton"`` (tiled, for CUDA), or ``"auto"`` (:func:`choose_implementation`).

    Returns:
        A scalar; 0 where no row has a negative.

    Raises:
        ValueError: shapes that do not fit, a bad option, or a non-finite embedding (named by row).
    """
    if impl not in IMPLEMENTATIONS:
        raise ValueError(f"impl={impl!r} is not one of {', '.join(IMPLEMENTATIONS)}")
    _check(query_BD, target_MD, temperature, alpha, reward_BB, query_ids, target_ids)
    check_margin(positive_margin)
    check_matryoshka(query_BD.shape[1], matryoshka_dims, matryoshka_weights)
    if impl == "auto":
        impl = choose_implementation(query_BD.shape[0], target_MD.shape[0], query_BD.device)
    options: dict[str, Any] = {
        "temperature": temperature,
        "alpha": alpha,
        "weighting": weighting,
        "positive_margin": positive_margin,
        "symmetric": symmetric,
        "query_ids": query_ids,
        "target_ids": target_ids,
        "shared_ids": shared_ids,
    }
    if impl != "reference":
        return tiled_loss(
            query_BD,
            target_MD,
            reward_AC=reward_BB,
            matryoshka_dims=matryoshka_dims,
            matryoshka_weights=matryoshka_weights,
            **options,
            **TILED[impl],
        )
    if matryoshka_dims is None:
        return _reference(query_BD, target_MD, reward_BB=reward_BB, **options)
    weights = matryoshka_weights or [1.0] * len(matryoshka_dims)
    losses = [
        weight * _reference(_prefix(query_BD, dim), _prefix(target_MD, dim), reward_BB=reward_BB, **options)
        for dim, weight in zip(matryoshka_dims, weights, strict=True)
    ]
    return torch.stack(losses).sum()


def choose_implementation(num_queries: int, num_targets: int, device: torch.device) -> str:
    """What ``impl="auto"`` uses.

    ``"reference"`` where it is small or where ``torch.compile`` traces it; else ``"triton"`` on a GPU that has it,
    ``"stored"`` while the scores fit a quarter of the memory that is free, and ``"tiled"`` beyond.
    """
    pairs = num_queries * num_targets
    if pairs <= SMALL or torch.compiler.is_compiling():
        return "reference"
    if device.type == "cuda" and find_spec("triton") is not None:
        return "triton"
    needed = 4 * pairs
    return "stored" if needed < UNASKED or needed <= STORED_SHARE * _free_bytes(device) else "tiled"


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if "SC_AVPHYS_PAGES" not in getattr(os, "sysconf_names", {}):  # Windows and macOS
        return 4 << 30
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _reference(
    query_BD: Tensor,
    target_MD: Tensor,
    *,
    temperature: float | Tensor,
    alpha: float,
    weighting: Weighting,
    positive_margin: float,
    symmetric: bool,
    reward_BB: Tensor | None,
    query_ids: Tensor | None,
    target_ids: Tensor | None,
    shared_ids: bool,
) -> Tensor:
    """The formula in plain autograd: what every other implementation is held to."""
    device_type = query_BD.device.type
    with torch.autocast(device_type, enabled=False) if torch.is_autocast_enabled(device_type) else nullcontext():
        dtype = torch.promote_types(torch.promote_types(query_BD.dtype, target_MD.dtype), torch.float32)
        cosine_BM = query_BD.to(dtype) @ target_MD.to(dtype).T
        if not torch.compiler.is_compiling():
            check_finite(query_BD, target_MD, cosine_BM.diagonal() / temperature, query_BD.shape[0])
        return score_loss(
            cosine_BM,
            temperature=temperature,
            alpha=alpha,
            weighting=weighting,
            positive_margin=positive_margin,
            symmetric=symmetric,
            reward_BM=reward_BB,
            query_ids=query_ids,
            target_ids=target_ids,
            shared_ids=shared_ids,
        )


def score_loss(
    score_BM: Tensor,
    *,
    temperature: float | Tensor = 0.02,
    alpha: float = 9.0,
    weighting: Weighting = "all",
    positive_margin: float = 0.0,
    symmetric: bool = True,
    reward_BM: Tensor | None = None,
    query_ids: Tensor | None = None,
    target_ids: Tensor | None = None,
    shared_ids: bool = False,
) -> Tensor:
    """The loss of given scores, for models whose score is no cosine of two vectors (MaxSim).

    Args:
        score_BM: of every query with every target, within [-1, 1] for the default temperature and alpha; target i is
            the positive of query i.
        reward_BM: hardness of each pair; default is the score itself.
        temperature, alpha, weighting, positive_margin, symmetric, query_ids, target_ids, shared_ids: see
            :func:`hardness_weighted_loss`.
    """
    size, num_targets = score_BM.shape
    scaled_BM = score_BM / temperature
    positive_B = scaled_BM.diagonal()
    if positive_margin:
        positive_B = positive_B - positive_margin * score_BM.diagonal().detach() / temperature
    hardness_BM = score_BM if reward_BM is None else reward_BM.to(score_BM.dtype)
    in_batch, own = alphas(alpha, weighting)
    logit_BM = torch.add(scaled_BM, hardness_BM.detach(), alpha=in_batch)
    if own != in_batch:
        own_BM = own_negatives(size, num_targets, score_BM.device)
        logit_BM = torch.where(own_BM, scaled_BM + own * hardness_BM.detach(), logit_BM)
    if reward_BM is not None:
        logit_BM = logit_BM.masked_fill(left_out(hardness_BM), torch.finfo(score_BM.dtype).min / 4)
    return contrast(
        logit_BM,
        positive_B,
        symmetric=symmetric,
        query_ids=query_ids,
        target_ids=target_ids,
        shared_ids=shared_ids,
    )


def contrast(
    logit_BM: Tensor,
    positive_B: Tensor,
    *,
    symmetric: bool,
    query_ids: Tensor | None,
    target_ids: Tensor | None,
    shared_ids: bool = False,
) -> Tensor:
    """Mean of ``log(1 + sum_j exp(z_j - z_pos))`` over rows and, if symmetric, columns of pairs.

    Args:
        logit_BM: of the negatives; what stands at positives and known positives is not read.
        positive_B: logits of the positives.
        symmetric, query_ids, target_ids, shared_ids: see :func:`hardness_weighted_loss`.
    """
    size, num_targets = logit_BM.shape
    ignored_BM = torch.eye(size, num_targets, dtype=torch.bool, device=logit_BM.device)
    if query_ids is not None or target_ids is not None:
        pair_B = torch.arange(size, device=logit_BM.device)
        columns = slice(0, num_targets)
        ignored_BM |= known_positives(pair_B, columns, size, query_ids, target_ids, shared_ids=shared_ids)
    # A finite floor instead of -inf: a row without any negative then has loss 0 and gradient 0, not NaN.
    logit_BM = logit_BM.masked_fill(ignored_BM, torch.finfo(logit_BM.dtype).min / 4)
    negative_B = logit_BM.logsumexp(1)
    if symmetric:
        negative_2B = torch.stack([negative_B, logit_BM[:, :size].logsumexp(0)])
        return F.softplus(negative_2B - positive_B, threshold=50).mean()
    return F.softplus(negative_B - positive_B, threshold=50).mean()


def _prefix(value_ND: Tensor, dim: int) -> Tensor:
    """The first ``dim`` dimensions, normalised."""
    dtype = torch.promote_types(value_ND.dtype, torch.float32)
    return F.normalize(value_ND[:, :dim].to(dtype), dim=-1)


def check_matryoshka(width: int, dims: Sequence[int] | None, weights: Sequence[float] | None) -> None:
    """Raise a ValueError unless the prefixes fit embeddings of ``width`` dimensions and have a weight each."""
    if dims is None:
        if weights is not None:
            raise ValueError("matryoshka_weights need matryoshka_dims")
        return
    if not dims or len(set(dims)) != len(dims) or min(dims) < 1 or max(dims) > width:
        raise ValueError(f"matryoshka_dims must be different numbers from 1 to {width}, got {list(dims)}")
    if weights is not None and len(weights) != len(dims):
        raise ValueError(f"{len(dims)} matryoshka_dims need as many weights, got {len(weights)}")


def check_margin(positive_margin: float) -> None:
    """Raise a ValueError unless the margin leaves something of the positive."""
    if not 0 <= positive_margin < 1:
        raise ValueError(f"positive_margin must be at least 0 and below 1, got {positive_margin}")


def _check(
    query_BD: Tensor,
    target_MD: Tensor,
    temperature: float | Tensor,
    alpha: float,
    reward_BB: Tensor | None,
    query_ids: Tensor | None,
    target_ids: Tensor | None,
) -> None:
    if query_BD.ndim != 2 or target_MD.ndim != 2 or query_BD.shape[1] != target_MD.shape[1]:
        raise ValueError(f"expected (B, D) queries and (M, D) targets, got {query_BD.shape} and {target_MD.shape}")
    size, num_targets = query_BD.shape[0], target_MD.shape[0]
    if size == 0 or num_targets < size:
        raise ValueError(f"every query needs a target: got {size} queries and {num_targets} targets")
    if torch.compiler.is_compiling():  # values are not known while a graph is traced
        return
    if temperature <= 0 or alpha < 0:
        raise ValueError(f"temperature must be > 0 and alpha >= 0, got {temperature} and {alpha}")
    if reward_BB is not None and reward_BB.shape != (size, num_targets):
        raise ValueError(f"reward_BB must have shape {(size, num_targets)}, got {tuple(reward_BB.shape)}")
    for name, ids, length in (("query_ids", query_ids, size), ("target_ids", target_ids, num_targets)):
        if ids is not None and ids.shape != (length,):
            raise ValueError(f"{name} must have shape ({length},), got {tuple(ids.shape)}")
