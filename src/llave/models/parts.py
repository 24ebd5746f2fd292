"""The parts of a vision-language model by one name across architectures: for freezing and for learning rates."""

import re
from collections.abc import Iterable

__all__ = ["PARTS", "matching"]

PARTS = {
    # The tower proper: Qwen-VL keeps its projector ("merger") inside the vision model.
    "vision_tower": re.compile(r"(^|\.)(vision_tower|vision_model|visual)\.(?!merger|deepstack_merger)"),
    "projector": re.compile(r"projector|(^|\.)(connector|merger|deepstack_merger_list)\.|(^|\.)image_newline$"),
}
"""Pattern of the parameters of each part, in nano, LLaVA-OneVision, Qwen2-VL to Qwen3-VL, and SmolVLM."""


def matching(word: str, names: Iterable[str]) -> list[str]:
    """Parameters that a word of a recipe means: a part, or every name that contains the word."""
    part = PARTS.get(word)
    return [name for name in names if (part.search(name) if part is not None else word in name)]
