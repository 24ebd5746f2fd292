"""What the nano vision tower sees at several depths of a picture: colours and strokes early, things late.

The first stage of a search sees the tower's last layer alone, in ``grid**2`` places. A reranker can afford more: for
every stage of the network the mean in four places, the maximum, and the variance of each channel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from llave.models.nano_vision import STAGES, EfficientNetLite0

__all__ = ["DEPTH_BLOCKS", "DEPTH_DIM", "depth_features", "in_scale"]

GRID = 2
FIRST_STAGE = 2
"""The stages before it see 3 x 3 and 7 x 7 pixels."""
LAST = 1280
STAGE_WEIGHT = 0.5
"""Of a stage's features beside those of the last layer, in products of two pictures."""
CLAMP = 6.0
"""Deviations beyond which a feature counts no more."""


def _blocks() -> tuple[tuple[int, float], ...]:
    stages = [((GRID * GRID + 2) * channels, STAGE_WEIGHT) for *_, channels in STAGES[FIRST_STAGE:]]
    return (*stages, ((GRID * GRID + 2) * LAST, 1.0))


DEPTH_BLOCKS = _blocks()
"""(features, weight) of each depth, in order."""
DEPTH_DIM = sum(width for width, _ in DEPTH_BLOCKS)


def depth_features(tower: EfficientNetLite0, pixel_N3HW: Tensor) -> Tensor:
    """Features (N, DEPTH_DIM) of pictures, float32, as they come from the tower."""
    ends = {sum(stage[0] for stage in STAGES[: number + 1]) - 1 for number in range(FIRST_STAGE, len(STAGES))}
    x = pixel_N3HW.contiguous(memory_format=torch.channels_last)
    x = F.relu6(tower.stem(x))
    parts: list[Tensor] = []
    for number, block in enumerate(tower.blocks):
        x = block(x)
        if number in ends:
            parts += [F.adaptive_avg_pool2d(x, GRID).flatten(1), x.amax((2, 3)), x.var((2, 3), unbiased=False)]
    last = F.relu6(tower.head(x))  # never below 0; its root tells a weak feature from none
    pooled = [last.mean((2, 3)), last.amax((2, 3)), F.adaptive_avg_pool2d(last, GRID).flatten(1)]
    return torch.cat([*parts, *(part.sqrt() for part in pooled)], dim=1).float()


def in_scale(features_NZ: Tensor, mean_Z: Tensor, std_Z: Tensor) -> Tensor:
    """Features (N, DEPTH_DIM) of equal scale: standardised, and each depth of the length that its weight says."""
    standard = ((features_NZ - mean_Z) / std_Z).clamp(-CLAMP, CLAMP)
    parts = standard.split([width for width, _ in DEPTH_BLOCKS], dim=1)
    return torch.cat(
        [weight**0.5 * F.normalize(part, dim=1) for part, (_, weight) in zip(parts, DEPTH_BLOCKS, strict=True)], dim=1
    )
