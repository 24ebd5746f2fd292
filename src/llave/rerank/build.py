"""A reranker before it is trained, from an embedding model, a raw checkpoint, or another reranker."""

import json
from pathlib import Path

import torch
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from torch import nn

from llave.data.door import named
from llave.errors import DataError, UserError
from llave.models.open import load_model
from llave.rerank.model import PairModel
from llave.rerank.nano import build_nano_reranker
from llave.rerank.open import open_pair_model

__all__ = ["build_reranker"]

HEAD_DEVIATION = 0.02


def build_reranker(
    base: str, *, seed: int = 0, device: str | None = None, dtype: torch.dtype | None = None
) -> PairModel:
    """A model of pairs to train.

    A reranker, or a generative checkpoint whose family is asked for "yes" or "no", is opened as it is. Of an embedding
    model the network and its pooling stay, so that it starts from what it has learned of pictures and texts; query and
    document go through it in one sequence, and a new linear head makes one score of the pooled vector.

    Args:
        base: "nano" (:mod:`llave.models.nano_pair`), a directory, or a hub id.
        seed: of the head.

    Raises:
        UserError: no model there, or one whose family has no template for pairs.
    """
    if base == "nano":
        return build_nano_reranker(seed=seed, device=device)
    if not _embeds(base):
        return open_pair_model(base, device=device, dtype=dtype)
    embedding = load_model(base, device=device, dtype=dtype)
    transformer, *rest = embedding
    if not isinstance(transformer, Transformer) or not embedding.family.pair_template:
        raise UserError(f"{base}: its family has no template for a query and a document in one sequence")
    pooling = [module for module in rest if not isinstance(module, Normalize)]
    if len(pooling) != 1 or not isinstance(pooling[0], Pooling):
        raise UserError(f"{base}: a reranker is made of a transformer and its pooling, and this model has more")
    transformer.processor.chat_template = embedding.family.pair_template
    head = Dense(
        pooling[0].get_embedding_dimension(),
        1,
        activation_function=nn.Identity(),
        module_input_name="sentence_embedding",
        module_output_name="scores",
    )
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        head.linear.weight.copy_(HEAD_DEVIATION * torch.randn(head.linear.weight.shape, generator=generator))
        head.linear.bias.zero_()
    model = PairModel(modules=[transformer, pooling[0], head.to(dtype=dtype)], device=str(embedding.device))
    model.source = embedding.source
    return model


def _embeds(base: str) -> bool:
    """Whether a directory says that it is an embedding model."""
    file = Path(base) / "config_sentence_transformers.json"
    if not file.is_file():
        return False
    try:
        with named(str(file)):
            return str(json.loads(file.read_text("utf-8")).get("model_type", "SentenceTransformer")) != "CrossEncoder"
    except DataError:  # opening it will say more
        return False
