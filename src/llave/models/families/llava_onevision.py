"""LLaVA-OneVision, and with it a converted LLaVE: SigLIP's tiles, a two-layer projector, Qwen2."""

from llave.models.families.family import Family

FAMILY = Family(
    types=("llava_onevision",),
    pooling="lasttoken",
    tower="vision_tower",
    vision=r"(^|\.)vision_tower\.",
    projector=r"(^|\.)multi_modal_projector\.|(^|\.)image_newline$",
)
