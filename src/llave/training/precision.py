"""Which arithmetic a machine is quick in."""

import dataclasses
from typing import Any

import torch

from llave.training.config import TrainConfig

__all__ = ["multiplies_bfloat16", "with_precision"]


def with_precision(config: TrainConfig) -> TrainConfig:
    """The recipe with ``precision: auto`` settled for this machine."""
    if config.precision != "auto":
        return config
    return dataclasses.replace(config, precision="bf16" if multiplies_bfloat16() else "fp32")


def multiplies_bfloat16() -> bool:
    """Whether the device has instructions for bfloat16: without them it is emulated, slower than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.accelerator.is_available():
        return False
    # an older torch does not tell, and is taken at its slowest
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
