"""The model as the server runs it: what its thread, or its process, does for a batch."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llave.data.door import named
from llave.encode.forward import Forward, Outcome, Refused
from llave.encode.item import Modality
from llave.encode.tokens import Tokens
from llave.errors import DataError, UserError
from llave.models.about import dtype_of, quantize_of
from llave.models.prompts import ModelInput, kinds_of
from llave.models.sounds import hearing_of
from llave.search.maker import Maker, maker_of
from llave.serving.lanes import Work
from llave.serving.profile import EmbedProfile, values_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Engine", "trained_dimensions"]

log = logging.getLogger("llave.serving")


def trained_dimensions(model: str) -> list[int]:
    """The lengths of vectors that a model's own record says it was trained for, besides the whole."""
    record = Path(model) / "run.json"
    if not record.is_file():
        return []
    try:
        with named(str(record)):
            found = json.loads(record.read_text("utf-8"))["config"]["loss"]["matryoshka_dims"]
            return [int(number) for number in found or []]
    except DataError:  # of another program, or edited; the whole vector is always there
        return []


class Engine(EmbedProfile):
    """A loaded model.

    Args:
        name: that requests use; with ``aliases``.
        dimensions: lengths that the vectors may be cut to.
        num_frames: of a video.
    """

    def __init__(
        self,
        model: "SentenceTransformer",
        *,
        name: str,
        aliases: Sequence[str] = (),
        dimensions: Sequence[int] = (),
        num_frames: int = 8,
    ) -> None:
        self.model = model.eval()
        whole = model.get_embedding_dimension()
        if whole is None:
            raise UserError(f"{name}: a model that does not say how long its vectors are cannot be served")
        if any(not 0 < number <= whole for number in dimensions):
            raise UserError(f"dimensions: each must be between 1 and {whole}, the length of this model's vectors")
        super().__init__(
            name=name,
            names=frozenset({name, *aliases}),
            dimension=whole,
            dimensions=sorted({*dimensions, whole}),
            modalities=sorted(kinds_of(model)),
            hearing=hearing_of(model),
            tokens=Tokens(model, num_frames),
            prompts=model.prompts,
            device=str(model.device),
            dtype=dtype_of(model),
            quantize=quantize_of(model) or "none",
        )
        self._forwards: dict[Modality, Forward] = {}

    def made(self) -> Maker:
        """What it is to an index; reads all weights, once."""
        self.fingerprint = self.fingerprint or maker_of(self.model).fingerprint
        return super().made()

    def profile(self) -> EmbedProfile:
        """All of this but the model."""
        self.made()
        return EmbedProfile(**values_of(self))

    @property
    def work(self) -> Work[ModelInput, Outcome]:
        """What it does for a batch."""
        return self.encode

    def encode(self, modality: Modality, prompt: str | None, inputs: list[ModelInput]) -> list[Outcome]:
        """Unit vectors, or why there is none. One thread at a time.

        A modality has its own memory of what fits: a GPU that holds 4 videos holds more than 4 texts. The queue has
        found equal items by their files' hashes; the same picture may still stand beside several texts.
        """
        forward = self._forwards.setdefault(modality, Forward(self.model))
        beside_texts = len(inputs) > 1 and any(isinstance(entry, dict) and entry.get("text") for entry in inputs)
        found = forward(inputs, [prompt] * len(inputs), equal_pictures=beside_texts)
        for outcome in found:
            if isinstance(outcome, Refused):
                level = logging.ERROR if outcome.kind == "memory" else logging.WARNING
                log.log(level, "an item of modality %s has no vector: %s", modality, outcome)
        return found

    def warm_up(self) -> None:
        """Run once, so that the first client does not pay for lazy imports and kernels."""
        from PIL import Image

        inputs: list[tuple[Modality, Any]] = [("text", "warm up")]
        if "image" in self.modalities:
            inputs.append(("image", Image.new("RGB", (64, 64))))
        for modality, entry in inputs:
            self.encode(modality, None, [entry])
