"""Qwen2-VL to Qwen3.5: patches of any picture size; the projector ("merger") is inside the vision model."""

from llave.models.families.family import Family

MERGER = r"(merger|deepstack_merger_list)\."
PLAIN = Family(
    types=("qwen2_vl",),
    pooling="lasttoken",
    tower="visual",
    vision=rf"(^|\.)visual\.(?!{MERGER})",
    projector=rf"(^|\.)visual\.{MERGER}",
)
TIMED = Family(
    types=("qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"),
    pooling="lasttoken",
    tower="visual",
    vision=PLAIN.vision,
    projector=PLAIN.projector,
    timed=True,
)
