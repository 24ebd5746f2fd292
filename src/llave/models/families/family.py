"""What differs between backbones, as one type. A file beside this one has each family's values."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Family", "PoolingMode"]

PoolingMode = Literal["lasttoken", "mean", "cls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Backbones that are opened, frozen, adapted and fed alike.

    Parameters are named as in ``network.named_parameters()``, after any prefix; a recipe's ``freeze``, learning rates
    and adapters find the parts of a model by these patterns.

    Args:
        types: ``model_type`` of the families' ``config.json``.
        pooling: of a raw checkpoint's token vectors; None: each tower gives a vector itself.
        tower: attribute of the network that sees pictures; "" without one.
        vision: pattern of the vision tower's parameters.
        projector: pattern of what brings pictures and sounds into the language model's space.
        audio: pattern of the audio tower's parameters; "" without one.
        timed: the model is told when each frame of a video was taken.
        padded: texts are padded to the length that the model was trained with, and its vector is at the last place.
        bare: its processor takes no text without a picture; inputs are laid out by :mod:`llave.models.bare`.
        pair_template: chat template of a query and a document in one sequence, for rerankers; a generative checkpoint
            of such a family is asked for "yes" or "no". "" of families that have none.
    """

    types: tuple[str, ...]
    pooling: PoolingMode | None
    tower: str = ""
    vision: str = "(?!)"
    projector: str = "(?!)"
    audio: str = "(?!)"
    timed: bool = False
    padded: bool = False
    bare: bool = False
    pair_template: str = ""

    @property
    def dual(self) -> bool:
        """Whether texts and pictures have a tower each, whose vectors are in one space."""
        return self.pooling is None and bool(self.tower)

    @property
    def parts(self) -> dict[str, re.Pattern[str]]:
        """Pattern of each part that a recipe can name."""
        found = {"vision_tower": self.vision, "projector": self.projector, "audio_tower": self.audio}
        return {name: re.compile(pattern) for name, pattern in found.items()}

    def matching(self, word: str, names: Iterable[str]) -> list[str]:
        """Parameters that a word of a recipe means: a part, or every name that contains the word.

        ``text_tower`` is what belongs to no other part.
        """
        parts = self.parts
        if word == "text_tower":
            return [name for name in names if not any(part.search(name) for part in parts.values())]
        part = parts.get(word)
        return [name for name in names if (part.search(name) if part is not None else word in name)]
