"""What int8 costs: vectors of some items before and after a model's linear layers are quantized."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llave.encode.encoder import Encoder
from llave.encode.forward import Refused
from llave.encode.item import Item, Reading
from llave.models.int8 import quantize_model

if TYPE_CHECKING:
    from llave.models.model import EmbeddingModel

__all__ = ["SAMPLE", "Loss", "quantize_measured"]

SAMPLE = 64
"""Items that are enough to see whether a model bears it."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Cosines of items' vectors in int8 to their own in float32.

    Args:
        items: how many were compared; with none, the cosines are NaN.
    """

    least: float
    mean: float
    items: int

    def __str__(self) -> str:
        if not self.items:
            return "int8: no item at hand to compare with float32"
        return (
            f"int8: cosine to the same model's float32 vectors at least {self.least:.4f}, {self.mean:.4f} in the mean, "
            f"over {self.items:,} items"
        )


def quantize_measured(
    model: "EmbeddingModel",
    items: Sequence[Item],
    *,
    prompt: str | None = None,
    reading: Reading = Reading(),  # noqa: B008 — frozen
) -> Loss:
    """Quantize a model in place (:func:`llave.models.int8.quantize_model`), and say what that does to some items.

    Args:
        model: on a processor, in float32.
        items: those that it does not take do not count.
        prompt: before every item that has none of its own.
    """
    encoder = Encoder(model, prompt=prompt, reading=reading)
    before = encoder(items)
    quantize_model(model)
    pairs = [
        (one, other)
        for one, other in zip(before, Encoder(model, prompt=prompt, reading=reading)(items), strict=True)
        if not isinstance(one, Refused) and not isinstance(other, Refused)
    ]
    cosines = np.array([float(one @ other) for one, other in pairs])  # of unit vectors
    if not len(cosines):
        return Loss(float("nan"), float("nan"), 0)
    return Loss(float(cosines.min()), float(cosines.mean()), len(cosines))
