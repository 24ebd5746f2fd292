"""Idefics3 and SmolVLM: rows of tiles, a pixel-shuffling connector, Llama."""

from llave.models.families.family import Family

FAMILY = Family(
    types=("idefics3", "smolvlm"),
    pooling="lasttoken",
    tower="vision_model",
    vision=r"(^|\.)vision_model\.",
    projector=r"(^|\.)connector\.",
)
