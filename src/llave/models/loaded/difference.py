"""One difference between what a checkpoint's files say and what was loaded from them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llave.data.door import named

__all__ = ["Difference", "Effect", "read_json"]

Effect = Literal["vectors", "perhaps", "none"]
"""Of a difference: the model's vectors are others, may be for some inputs, or stay what they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What a file says, what was loaded, and how much it matters.

    Attributes:
        part: "tokenizer", "template", "processor", "pooling", "weights" or "dtype".
        name: what differs, e.g. ``"normalizer"`` or ``"size"``.
        where: the file that says it, relative to the checkpoint.
        file: what it says.
        loaded: what the open model has.
        effect: on the vectors.
        remedy: what to do about it.
    """

    part: str
    name: str
    where: str
    file: str
    loaded: str
    effect: Effect
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.part}: {self.name}: {self.where} says {self.file}, loaded is {self.loaded}"


def read_json(path: Path) -> Any:
    """A file of the checkpoint; an empty dictionary where there is none.

    Raises:
        DataError: it is not JSON.
    """
    if not path.is_file():
        return {}
    with named(str(path), "cannot be read as JSON"):
        return json.loads(path.read_text("utf-8"))
