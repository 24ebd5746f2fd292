"""What a checkpoint leaves open, filled in when it is opened: the pooling of a raw one, and how videos are taken."""

from collections.abc import Sequence
from typing import Any

from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from torch import nn

from llave.errors import UserError
from llave.models import nano
from llave.models.families import PoolingMode, family_of_type

__all__ = ["UNLIMITED", "pooled", "take_videos"]

UNLIMITED = 10**9
"""A tokenizer without a length has more than this."""


def pooled(name: str, modules: Sequence[nn.Module], wanted: PoolingMode | None) -> list[nn.Module]:
    """The modules of a raw checkpoint, pooled as its family was made for.

    Args:
        name: of the checkpoint.
        modules: sentence-transformers' own choice for it, the transformer first.
        wanted: another pooling; None is the family's, or sentence-transformers' for a text encoder.

    Raises:
        UserError: a vision-language model whose pooling is not known, or pooling for one that has none.
    """
    transformer, *rest = modules
    assert isinstance(transformer, Transformer)
    family = family_of_type(transformer.config.model_type)
    if transformer.module_output_name != "token_embeddings":  # two towers, each with a vector of its own
        if wanted is not None:
            raise UserError(f"{name}: its towers give vectors themselves; leave pooling out")
        length = getattr(transformer.config.get_text_config(), "max_position_embeddings", UNLIMITED)
        transformer.max_seq_length = min(transformer.max_seq_length or length, length)
        if family is not None and family.padded:
            arguments: Any = transformer.processing_kwargs
            arguments["text"] = {"padding": "max_length", "max_length": length, **arguments.get("text", {})}
        return [transformer, Normalize()]
    mode = wanted or (family.pooling if family is not None else None)
    if mode is None and {"image", "message"} & set(transformer.modalities):
        raise UserError(
            f"{name}: how models of the type {transformer.config.model_type} are pooled is not known; "
            "say it: llave convert MODEL DIRECTORY --pooling lasttoken (or mean, or cls)"
        )
    return [transformer, rest[0] if mode is None else Pooling(_width(transformer), mode), Normalize()]


def _width(transformer: Transformer) -> int:
    """Of a token's vector. EmbeddingGemma 2 projects it after its last layer."""
    config: Any = transformer.config
    return int(getattr(config.get_text_config(), "embedding_dim", None) or transformer.get_embedding_dimension())


def take_videos(transformer: Transformer) -> None:
    """Let a model take the frames of a video as they come.

    sentence-transformers thinks that a nano model takes none: it looks for a video processor, and frames are pictures
    here. Qwen3-VL's processor would choose among them once more, and silently leave out half of eight.
    """
    config: Any = transformer.modality_config
    if isinstance(transformer.processor, nano.NanoProcessor):
        config.setdefault("video", dict(config["image"]))
        transformer.input_formatter.supported_modalities = list(config)
    elif getattr(getattr(transformer.processor, "video_processor", None), "do_sample_frames", False):
        arguments: Any = transformer.processing_kwargs
        arguments["video"] = {"do_sample_frames": False, **arguments.get("video", {})}
