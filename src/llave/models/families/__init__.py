"""The families of backbones: one table. A model that is not in it says how it is pooled, or is asked to."""

from torch import nn

from llave.models.families import (
    dual_encoders,
    embedding_gemma2,
    gemma,
    idefics,
    llava_onevision,
    nano,
    paligemma,
    qwen_vl,
)
from llave.models.families.family import Family, PoolingMode

__all__ = ["FAMILIES", "UNKNOWN", "Family", "PoolingMode", "family_of", "family_of_type"]

FAMILIES = (
    dual_encoders.CLIP,
    dual_encoders.SIGLIP,
    embedding_gemma2.FAMILY,
    gemma.FAMILY,
    idefics.FAMILY,
    llava_onevision.FAMILY,
    nano.FAMILY,
    nano.PAIR,
    paligemma.FAMILY,
    qwen_vl.PLAIN,
    qwen_vl.TIMED,
)
BY_TYPE = {name: family for family in FAMILIES for name in family.types}
UNKNOWN = Family(
    types=(),
    pooling=None,
    vision="|".join(sorted({family.vision for family in FAMILIES})),
    projector="|".join(sorted({family.projector for family in FAMILIES})),
    audio="|".join(sorted({family.audio for family in FAMILIES})),
)
"""Of a network that is not in the table: its parts by the names that any family gives them."""


def family_of_type(model_type: str) -> Family | None:
    """The family of a ``model_type`` of ``config.json``."""
    return BY_TYPE.get(model_type)


def family_of(network: nn.Module | None) -> Family:
    """The family of transformers' model, :data:`UNKNOWN` if it is in none."""
    config = getattr(network, "config", None)
    return BY_TYPE.get(getattr(config, "model_type", ""), UNKNOWN)
