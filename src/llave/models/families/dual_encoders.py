"""CLIP, SigLIP and their kin: a tower for texts and one for pictures, whose vectors are in one space."""

from dataclasses import replace

from llave.models.families.family import Family

CLIP = Family(
    types=("clip", "metaclip_2", "chinese_clip", "altclip", "align"),
    pooling=None,
    tower="vision_model",
    vision=r"(^|\.)vision_model\.",
    projector=r"(^|\.)(visual|text)_projection(\.|$)",
)
SIGLIP = replace(CLIP, types=("siglip", "siglip2"), padded=True)
