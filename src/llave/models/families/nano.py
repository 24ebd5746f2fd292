"""The nano model: EfficientNet-Lite0, a two-layer projector, MiniLM over visual tokens and text."""

from llave.models.families.family import Family

FAMILY = Family(
    types=("llave_nano",),
    pooling="mean",
    tower="vision_tower",
    vision=r"(^|\.)vision_tower\.",
    projector=r"(^|\.)(deep_)?projector(_gate)?\.",
)
