"""PaliGemma: SigLIP's picture and a text in a Gemma that sees both from both sides. It has no chat template."""

from llave.models.families.family import Family

FAMILY = Family(
    types=("paligemma",),
    pooling="lasttoken",
    tower="vision_tower",
    vision=r"(^|\.)vision_tower\.",
    projector=r"(^|\.)multi_modal_projector\.",
    bare=True,
)
