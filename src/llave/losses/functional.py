"""The hardness-weighted contrastive loss of LLaVE (arXiv 2503.04812, Eq. 8) as a pure function.

Needs torch alone. ``B`` queries, ``M >= B`` targets (target i is the positive of query i; targets from B on
are extra negatives), ``D`` dimensions. The paper writes the query-to-target direction; the released code
weights both, and so do we.

The loss of one row is ``log(1 + sum_j exp(z_j - z_pos))``. Written as ``softplus(logsumexp(z_neg) - z_pos)``
it keeps its value and gradient when it is tiny; a cross-entropy over all logits would round both away
(``1 + 1e-9 == 1`` in float32).
"""

import os

import torch
import torch.nn.functional as F
from torch import Tensor

from llave.losses.masks import known_positives
from llave.losses.tiled import Keep, tiled_loss

__all__ = ["IMPLEMENTATIONS", "choose_implementation", "direction_loss", "hardness_weighted_loss"]

IMPLEMENTATIONS = ("auto", "reference", "tiled", "stored")
STORED_SHARE = 0.25
"""``auto`` keeps the scores while they fit this share of the device's free memory."""
SMALL = 16 << 20
"""Bytes for which ``auto`` does not ask how much memory is free."""
KEEP: dict[str, Keep] = {"tiled": "nothing", "stored": "scores"}


def hardness_weighted_loss(
    query_BD: Tensor,
    target_MD: Tensor,
    *,
    temperature: float | Tensor = 0.02,
    alpha: float = 9.0,
    symmetric: bool = True,
    reward_BB: Tensor | None = None,
    query_ids: Tensor | None = None,
    target_ids: Tensor | None = None,
    impl: str = "auto",
) -> Tensor:
    """Mean contrastive loss in which every negative weighs ``exp(alpha * reward)``; positives are unweighted.

    Args:
        query_BD: L2-normalised queries. Any float dtype; computed in float32 (float64 stays float64).
        target_MD: L2-normalised targets; row i < B is the positive of query i, later rows are hard negatives.
        temperature: tau, > 0; a tensor with ``requires_grad`` is learned.
        alpha: hardness, >= 0; 0 is InfoNCE.
        symmetric: also score each positive target against all queries, and average the two directions.
        reward_BB: hardness of each pair, without gradient; default is the cosine itself (LLaVE).
        query_ids, target_ids: integer ids of shape (B,) and (M,). Pairs that share a query id or a target id
            are positives of one another and are left out of the negatives, in both directions.
        impl: ``"reference"`` (plain autograd, about 30 bytes x B x M), ``"tiled"`` (no B x M tensor),
            ``"stored"`` (4 bytes x B x M, the fastest), or ``"auto"`` (:func:`choose_implementation`).

    Returns:
        A scalar; 0 where no row has a negative.

    Raises:
        ValueError: shapes that do not fit, a bad option, or a non-finite embedding (named by row).
    """
    if impl not in IMPLEMENTATIONS:
        raise ValueError(f"impl={impl!r} is not one of {', '.join(IMPLEMENTATIONS)}")
    _check(query_BD, target_MD, temperature, alpha, reward_BB, query_ids, target_ids)
    size = query_BD.shape[0]
    if impl == "auto":
        impl = choose_implementation(size, target_MD.shape[0], query_BD.device)
    if impl != "reference":
        return tiled_loss(
            query_BD,
            target_MD,
            temperature=temperature,
            alpha=alpha,
            symmetric=symmetric,
            reward_AC=reward_BB,
            query_ids=query_ids,
            target_ids=target_ids,
            keep=KEEP[impl],
        )
    positive_B = torch.arange(size, device=query_BD.device)
    known_BM = known_positives(positive_B, target_MD.shape[0], query_ids, target_ids)
    rows = direction_loss(
        query_BD, target_MD, positive_B, temperature=temperature, alpha=alpha, reward_AC=reward_BB, known_AC=known_BM
    )
    if not symmetric:
        return rows.mean()
    columns = direction_loss(
        target_MD[:size],
        query_BD,
        positive_B,
        temperature=temperature,
        alpha=alpha,
        reward_AC=None if reward_BB is None else reward_BB[:, :size].T,
        known_AC=None if known_BM is None else known_BM[:, :size].T,
    )
    return (rows.mean() + columns.mean()) / 2


def choose_implementation(num_queries: int, num_targets: int, device: torch.device) -> str:
    """What ``impl="auto"`` uses: ``"stored"`` while the scores fit the memory that is free, else ``"tiled"``."""
    needed = 4 * num_queries * num_targets
    return "stored" if needed < SMALL or needed <= STORED_SHARE * _free_bytes(device) else "tiled"


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # no such thing on Windows and macOS
        return 4 << 30


def direction_loss(
    anchor_AD: Tensor,
    candidate_CD: Tensor,
    positive_A: Tensor,
    *,
    temperature: float | Tensor,
    alpha: float,
    reward_AC: Tensor | None = None,
    known_AC: Tensor | None = None,
) -> Tensor:
    """Loss per anchor, shape (A,), of one direction. Anchors may be one rank's share of the candidates' pairs.

    Args:
        anchor_AD, candidate_CD: L2-normalised embeddings.
        positive_A: index into the candidates of each anchor's positive.
        reward_AC: hardness of each pair; default is the cosine.
        known_AC: True where a candidate is a known positive and must not count as a negative.
    """
    with torch.autocast(anchor_AD.device.type, enabled=False):
        dtype = torch.promote_types(torch.promote_types(anchor_AD.dtype, candidate_CD.dtype), torch.float32)
        anchor_AD, candidate_CD = anchor_AD.to(dtype), candidate_CD.to(dtype)
        cosine_AC = anchor_AD @ candidate_CD.T
        reward_AC = cosine_AC if reward_AC is None else reward_AC.to(dtype)
        logit_AC = cosine_AC / temperature + alpha * reward_AC.detach()
        positive_logit_A = cosine_AC.gather(1, positive_A[:, None]).squeeze(1) / temperature
        # A finite floor instead of -inf: a row without any negative then has loss 0 and gradient 0, not NaN.
        ignored_AC = F.one_hot(positive_A, candidate_CD.shape[0]).bool()
        if known_AC is not None:
            ignored_AC = ignored_AC | known_AC
        logit_AC = logit_AC.masked_fill(ignored_AC, torch.finfo(dtype).min / 4)
        return F.softplus(torch.logsumexp(logit_AC, dim=1) - positive_logit_A, threshold=50)


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
    if temperature <= 0 or alpha < 0:
        raise ValueError(f"temperature must be > 0 and alpha >= 0, got {temperature} and {alpha}")
    if reward_BB is not None and reward_BB.shape != (size, num_targets):
        raise ValueError(f"reward_BB must have shape {(size, num_targets)}, got {tuple(reward_BB.shape)}")
    for name, ids, length in (("query_ids", query_ids, size), ("target_ids", target_ids, num_targets)):
        if ids is not None and ids.shape != (length,):
            raise ValueError(f"{name} must have shape ({length},), got {tuple(ids.shape)}")
    for name, value in (("query", query_BD), ("target", target_MD)):
        # One sum is cheaper than a test of every number; only a suspicious one is looked at row by row.
        if value.detach().sum(dtype=torch.float32).isfinite():
            continue
        finite = value.detach().isfinite().all(dim=1)
        if not finite.all():
            row = int((~finite).nonzero()[0])
            raise ValueError(f"{name} embedding {row} is not finite; lower the learning rate or look at that row")
