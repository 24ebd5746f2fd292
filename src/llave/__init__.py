"""Universal multimodal embeddings with the hardness-weighted contrastive loss of LLaVE (arXiv 2503.04812).

Names are imported on first use, so that ``import llave`` and ``llave --help`` do not wait for torch. The nano model's
classes are registered with transformers' Auto classes as soon as transformers is there, so that after ``import llave``
``SentenceTransformer(DIR)`` opens what we train.
"""

import importlib
import logging
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from wrapt import when_imported

from llave._version import __version__

if TYPE_CHECKING:
    from llave.encode.encoder import Encoder
    from llave.encode.forward import Refused
    from llave.encode.item import Item
    from llave.evaluation.runner import evaluate
    from llave.losses.functional import hardness_weighted_loss
    from llave.losses.hardness import HardnessWeightedLoss
    from llave.models.open import load_model
    from llave.search.build import build_index
    from llave.search.index import Index

__all__ = [
    "Encoder",
    "HardnessWeightedLoss",
    "Index",
    "Item",
    "Refused",
    "__version__",
    "build_index",
    "evaluate",
    "hardness_weighted_loss",
    "load_model",
]

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of kernels when anything imports it

_HOMES = {
    "Encoder": "llave.encode.encoder",
    "Index": "llave.search.index",
    "Item": "llave.encode.item",
    "Refused": "llave.encode.forward",
    "build_index": "llave.search.build",
    "evaluate": "llave.evaluation.runner",
    "hardness_weighted_loss": "llave.losses.functional",
    "HardnessWeightedLoss": "llave.losses.hardness",
    "load_model": "llave.models.open",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'llave' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


@when_imported("transformers")
def _register_nano(transformers: ModuleType) -> None:
    if "llave.models.nano" not in sys.modules:  # it may be what is being imported, and goes on by itself
        importlib.import_module("llave.models.nano")
