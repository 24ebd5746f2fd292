"""Gemma 3: SigLIP's picture in 256 tokens, seen from both sides, in a causal language model."""

from llave.models.families.family import Family

FAMILY = Family(
    types=("gemma3",),
    pooling="lasttoken",
    tower="vision_tower",
    vision=r"(^|\.)vision_tower\.",
    projector=r"(^|\.)multi_modal_projector\.",
)
