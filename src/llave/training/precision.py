"""The precision of a recipe."""

import dataclasses

from llave.models.precision import multiplies_bfloat16
from llave.training.config import TrainConfig

__all__ = ["with_precision"]


def with_precision(config: TrainConfig) -> TrainConfig:
    """The recipe with ``precision: auto`` settled for this machine."""
    if config.precision != "auto":
        return config
    return dataclasses.replace(config, precision="bf16" if multiplies_bfloat16() else "fp32")
