"""Items to the vectors of their tokens, by the same door as one vector for each; and MaxSim over what comes out.

A page of 700 tokens of 128 numbers is 179 kB in float16, a vector of 1,024 numbers 2 kB. Token pooling shrinks it: the
tokens of a document are clustered (Ward, on cosine distance) and each cluster is its mean, which arXiv 2409.14683 finds
to cost next to nothing at factor 2 or 3.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llave.encode.encoder import Encoder
from llave.encode.forward import Forward, Outcome, Refused
from llave.encode.item import Item
from llave.errors import UserError
from llave.models.late import LateModel, Role
from llave.models.prompts import ModelInput

__all__ = ["Documents", "LateEncoder", "Tokens", "TokensOutcome", "check_factor", "maxsim_scores", "pool_tokens"]

Tokens = NDArray[Any]
"""Unit vectors (T, D) of an item's tokens, float32 or float16."""
TokensOutcome = Tokens | Refused


class LateEncoder(Encoder):
    """A late-interaction model for items: the unit vectors (T, D) of the tokens that count, or why there are none.

    Args:
        model: an open model (:func:`llave.models.open.load_late`).
        role: what the items are; prompts and the tokens that count may differ.
        factor: a document keeps one in so many of its tokens; 1 keeps all.
        options: ``prompt``, ``reading``, ``batch_size`` and ``tokens_per_batch`` of :class:`Encoder`.
    """

    def __init__(self, model: LateModel, role: Role, *, factor: float = 1, **options: Any) -> None:
        super().__init__(model, **options)  # type: ignore[arg-type]  # what it reads of one, both have
        check_factor(factor)
        self._forward = _LateForward(model, role, factor if role == "document" else 1)

    def __call__(self, items: Iterable[Item]) -> list[TokensOutcome]:
        """Unit vectors (T, D) in float32, or :class:`Refused`, per item, in order."""
        return self.encode(list(items))

    def _batches(self, items: Sequence[Item], batches: Sequence[list[int]], processes: int, small: bool) -> Any:
        if processes != 1:
            raise UserError("late interaction: one process encodes")
        return super()._batches(items, batches, processes, small)


class _LateForward(Forward):
    def __init__(self, model: LateModel, role: Role, factor: float) -> None:
        super().__init__(model)  # type: ignore[arg-type]
        self.late = model
        self.role: Role = role
        self.factor = factor

    def _prompt(self, prompt: str | None) -> str | None:
        """As ``encode_query`` and ``encode_document`` have it: the role's own, where none is given."""
        own = self.late.prompts.get(self.role)
        return super()._prompt(own if prompt is None and own else prompt)

    def _forward(self, inputs: Sequence[ModelInput], prompt: str | None) -> list[Outcome]:
        import torch
        from sentence_transformers.util import batch_to_device

        with torch.inference_mode():
            features = self.late.preprocess(list(inputs), prompt, task=self.role)
            out = self.late(batch_to_device(features, self.late.device))
        tokens_BTD: NDArray[np.float32] = out["token_embeddings"].float().cpu().numpy()
        mask_BT = out["attention_mask"].bool().cpu().numpy()
        return [self._outcome(tokens_TD[mask_T]) for tokens_TD, mask_T in zip(tokens_BTD, mask_BT, strict=True)]

    def _outcome(self, tokens_TD: NDArray[np.float32]) -> Outcome:
        if not len(tokens_TD):
            return Refused("model", "no token of this item counts for the model")
        norm_T1 = np.linalg.norm(tokens_TD, axis=1, keepdims=True)
        if not np.isfinite(norm_T1).all() or not norm_T1.all():
            return Refused("number", "a token's vector of this item is zero or not finite")
        return pool_tokens(tokens_TD / norm_T1, self.factor)


def check_factor(factor: float) -> None:
    """Raise a UserError for a factor of token pooling below 1."""
    if not factor >= 1:
        raise UserError(f"a factor of token pooling is at least 1 (all tokens), got {factor}")


def pool_tokens(tokens_TD: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """One in ``factor`` tokens, at least one: normalised means of Ward's clusters on cosine distance.

    Args:
        tokens_TD: unit vectors.
    """
    if factor <= 1 or len(tokens_TD) < 2:
        return tokens_TD
    import torch
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    pooling = HierarchicalTokenPooling(factor, num_protected_tokens=0)
    pooled: NDArray[np.float32] = pooling.pool_one(torch.from_numpy(np.ascontiguousarray(tokens_TD))).numpy()
    return pooled


class Documents:
    """Documents' tokens behind one another: one product with a query for all of them, without padding.

    Args:
        documents: unit vectors (S, D) each, at least one document, S at least 1.
    """

    def __init__(self, documents: Sequence[Tokens]) -> None:
        self._token_XD = np.concatenate(documents).astype(np.float32)
        self._start_M = np.cumsum([0, *(len(tokens) for tokens in documents[:-1])])

    def scores(self, query_TD: Tokens) -> NDArray[np.float32]:
        """Mean over the query's tokens of the best of each document's, (documents,);
        :func:`llave.losses.maxsim.maxsim` is the same with a gradient."""
        cosine_TX = query_TD.astype(np.float32) @ self._token_XD.T
        scores: NDArray[np.float32] = np.maximum.reduceat(cosine_TX, self._start_M, axis=1).mean(axis=0)
        return scores


def maxsim_scores(query_TD: Tokens, documents: Sequence[Tokens]) -> NDArray[np.float32]:
    """The scores (documents,) of a query's tokens with each of some documents; see :class:`Documents`."""
    return Documents(documents).scores(query_TD) if documents else np.zeros(0, np.float32)
