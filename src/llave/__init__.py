"""Universal multimodal embeddings with the hardness-weighted contrastive loss of LLaVE (arXiv 2503.04812).

Names are imported on first use, so that ``import llave`` and ``llave --help`` do not wait for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from llave._version import __version__

if TYPE_CHECKING:
    from llave.losses.functional import hardness_weighted_loss
    from llave.losses.hardness import HardnessWeightedLoss
    from llave.models.load import load_model

__all__ = ["HardnessWeightedLoss", "__version__", "hardness_weighted_loss", "load_model"]

_HOMES = {
    "hardness_weighted_loss": "llave.losses.functional",
    "HardnessWeightedLoss": "llave.losses.hardness",
    "load_model": "llave.models.load",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'llave' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
