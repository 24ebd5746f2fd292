"""The model as the server knows it: its names, dimensions and prompts, and what its thread runs."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llave.data.door import named
from llave.encode.encoder import TOKENS_PER_BATCH
from llave.encode.forward import Forward, Outcome, Refused
from llave.encode.item import Modality
from llave.encode.tokens import Tokens
from llave.errors import DataError, UserError
from llave.models.prompts import ModelInput, kinds_of
from llave.models.sounds import hearing_of
from llave.serving.batcher import BatchPlan
from llave.serving.errors import bad_request
from llave.serving.limits import Limits

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Engine", "batch_plan", "trained_dimensions"]

PICTURES_ON_CPU = 16
"""More in a batch are no faster on a CPU, and the next text would wait for them."""
VIDEOS = 4
SOUNDS = 16
PADDING = {"cpu": (64, 0.1), "cuda": (4096, 0.5)}
"""Tokens and share of padding in a batch. A forward pass of the nano model costs as much as about 45 more tokens on a
CPU; a GPU has idle units until thousands."""
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


def batch_plan(kind: str, limits: Limits) -> BatchPlan:
    """Bounds of a batch on a kind of device, such as ``"cpu"``."""
    pictures = limits.batch_pictures or (PICTURES_ON_CPU if kind == "cpu" else limits.batch_items)
    padding, share = PADDING["cpu" if kind == "cpu" else "cuda"]
    return BatchPlan(
        tokens=limits.batch_tokens or TOKENS_PER_BATCH.get(kind, TOKENS_PER_BATCH["cuda"]),
        items={
            "text": limits.batch_items,
            "image": min(pictures, limits.batch_items),
            "video": VIDEOS,
            "audio": SOUNDS,
        },
        padding=padding,
        padding_share=share,
    )


class Engine:
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
        self.name = name
        self.names = frozenset({name, *aliases})
        whole = model.get_embedding_dimension()
        if whole is None:
            raise UserError(f"{name}: a model that does not say how long its vectors are cannot be served")
        self.dimension: int = whole
        if any(not 0 < number <= whole for number in dimensions):
            raise UserError(f"dimensions: each must be between 1 and {whole}, the length of this model's vectors")
        self.dimensions = sorted({*dimensions, whole})
        self.modalities = sorted(kinds_of(model))
        self.hearing = hearing_of(model)
        self.num_frames = num_frames
        self.tokens = Tokens(model, num_frames)
        self._forwards: dict[Modality, Forward] = {}

    def check_dimensions(self, wanted: int | None, param: str) -> int:
        """The length of the vectors.

        Raises:
            ApiError: 400, a length that the model was not trained for.
        """
        if wanted is not None and wanted not in self.dimensions:
            listed = ", ".join(map(str, self.dimensions))
            raise bad_request(f"this model's vectors can have {listed} dimensions, not {wanted}", param)
        return wanted or self.dimension

    def prompt(self, input_type: str | None, instruction: str | None) -> str | None:
        """The prompt as ``SentenceTransformer.encode`` takes it; None is the model's default."""
        if instruction is not None or input_type is None:
            return instruction
        return self.model.prompts.get(input_type) or ""

    def plan(self, limits: Limits) -> BatchPlan:
        """Bounds of a batch on the model's device."""
        return batch_plan(self.model.device.type, limits)

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
