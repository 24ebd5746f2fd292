"""Late interaction: a model that keeps a vector for every token, as ColPali and ColQwen do (arXiv 2407.01449).

It is sentence-transformers' ``MultiVectorEncoder``: the same backbones and the same preprocessing as an embedding
model, then a projection of each token, a mask of the tokens that count, and their normalisation. What it saves opens
as ``MultiVectorEncoder(DIRECTORY)``.
"""

from typing import Any, Literal

import torch
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.base.modules.dense import Dense
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from torch import Tensor, nn

from llave.errors import UserError
from llave.models.model import LATE, SOUND_COUNTS, EmbeddingModel, Prepared, Prompt

__all__ = ["DIMENSIONS", "LateModel", "Role", "late_from", "token_width"]

DIMENSIONS = 128
"""Of a token's vector, as in ColBERT and ColPali."""
Role = Literal["query", "document"]
ROLE = "task"
"""Feature of a preprocessed batch that tells the mask what it is, as in sentence-transformers."""


class LateModel(Prepared, MultiVectorEncoder):  # type: ignore[misc]  # a guard for its own inputs
    """Vectors of an input's tokens: ``token_embeddings`` (B, T, D) and, of those that count, ``attention_mask`` (B, T).

    Which tokens count may differ between queries and documents; a batch carries its role.
    """

    def _get_model_type(self, model_name_or_path: str, *args: Any, **kwargs: Any) -> str:
        kind: str = super()._get_model_type(model_name_or_path, *args, **kwargs)
        if kind not in LATE:
            raise UserError(
                f"{model_name_or_path}: no late-interaction model; llave train RECIPE --task late makes one of it"
            )
        return kind

    def preprocess(
        self, inputs: Any, prompt: Prompt = None, *, task: Role | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """See :meth:`Prepared.preprocess`; ``task`` is what the inputs are, queries or documents."""
        if task is not None:
            kwargs["task"] = task
        features = super().preprocess(inputs, prompt, **kwargs)
        return features if task is None else {**features, ROLE: task}

    def forward(self, input: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        """The features with ``token_embeddings``, unit vectors."""
        features = {key: value for key, value in input.items() if key not in (SOUND_COUNTS, ROLE)}
        role = kwargs.pop("task", None) or input.get(ROLE)
        return super().forward(features, task=role, **kwargs)


def late_from(base: EmbeddingModel, dimensions: int = DIMENSIONS) -> LateModel:
    """A model of token vectors on the backbone of another, its projection random: to be trained.

    The backbone is shared, not copied. Scores are the mean over a query's tokens, as it will be trained.

    Raises:
        UserError: a model without token vectors (CLIP and its kin).
    """
    transformer = base[0]
    if base.is_dual or not isinstance(transformer, Transformer):
        raise UserError(f"{base.source or 'this model'}: its towers give one vector each, and no tokens'")
    projection = Dense(
        in_features=token_width(transformer),
        out_features=dimensions,
        bias=False,
        activation_function=nn.Identity(),
        module_input_name="token_embeddings",
    )
    dtype = next((value.dtype for value in transformer.parameters() if value.is_floating_point()), torch.float32)
    model = LateModel(
        modules=[transformer, projection.to(dtype), MultiVectorMask(), Normalize(module_input_name="token_embeddings")],
        device=str(base.device),
        prompts={name: words for name, words in base.prompts.items() if words},
        default_prompt_name=base.default_prompt_name,
        similarity_fn_name="meanmaxsim",
    )
    model.source = base.source
    return model


def token_width(transformer: Transformer) -> int:
    """Of a token's vector as it leaves the backbone. EmbeddingGemma 2 projects it after its last layer."""
    config: Any = transformer.config
    return int(getattr(config.get_text_config(), "embedding_dim", None) or transformer.get_embedding_dimension())
