"""One batch of inputs to vectors, with what a long run needs: memory that runs out, inputs that the model refuses."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llave.errors import UserError
from llave.models.prompts import ModelInput, num_frames_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Encoder", "Vector"]

Vector = NDArray[np.float32] | str
"""A unit vector (D,), or why there is none."""


class Encoder:
    """A model, and how many items at once its memory was found to hold.

    A picture that occurs more than once in a batch passes the vision tower once.

    Args:
        prompt: before every item, as ``SentenceTransformer.encode`` takes it; None is the model's default.
    """

    def __init__(self, model: "SentenceTransformer", *, prompt: str | None = None) -> None:
        self.model = model
        self.prompt = prompt
        self.fits: int | None = None

    def __call__(self, inputs: Sequence[ModelInput]) -> list[Vector]:
        """A vector or a reason per input.

        An input that the model refuses is found by halving its batch, and costs no other one.

        Raises:
            UserError: the model refuses every input of a batch, or there is no memory for a single one.
        """
        found: dict[int, Vector] = {}
        with self._towers():
            for places in _by_frames(inputs):
                step = self.fits or len(places)
                for start in range(0, len(places), step):
                    part = places[start : start + step]
                    found |= zip(part, self._some([inputs[place] for place in part]), strict=True)
        vectors = [found[place] for place in range(len(inputs))]
        if len(vectors) > 1 and all(isinstance(vector, str) and vector.startswith(REFUSED) for vector in vectors):
            raise UserError(f"the model refuses every item of a batch, first: {vectors[0]}")
        return vectors

    def _some(self, inputs: Sequence[ModelInput]) -> list[Vector]:
        import torch

        try:
            return self._forward(inputs)
        except torch.OutOfMemoryError as error:
            if len(inputs) == 1:
                raise UserError(f"no memory on {self.model.device} for a single item ({error})") from None
            self.fits = len(inputs) // 2
        except Exception as error:  # whatever a processor raises for an input that it cannot take
            if len(inputs) == 1:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                return [f"{REFUSED} ({reason})"]
        torch.cuda.empty_cache()
        middle = len(inputs) // 2
        return self._some(inputs[:middle]) + self._some(inputs[middle:])

    def _forward(self, inputs: Sequence[ModelInput]) -> list[Vector]:
        """Normalised again in float32, because half precision leaves norms off by 1e-3."""
        embedding = self.model.encode(
            list(inputs),
            prompt=self.prompt,
            batch_size=len(inputs),
            convert_to_tensor=True,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        embedding_BD: NDArray[np.float32] = embedding.float().cpu().numpy()
        norm_B = np.linalg.norm(embedding_BD, axis=1)
        return [
            vector_D / norm
            if np.isfinite(norm) and norm > 0
            else "the model's embedding of this item is zero or not finite"
            for vector_D, norm in zip(embedding_BD, norm_B, strict=True)
        ]

    @contextmanager
    def _towers(self) -> Iterator[None]:
        from llave.models.tower_reuse import TowerReuse, once_per_row, vision_tower

        network: Any = getattr(self.model[0], "model", None)
        tower = vision_tower(network)
        layers = getattr(getattr(network, "config", None), "vision_feature_layer", None)
        reuse = None if tower is None else TowerReuse(tower, layers=layers, lru=once_per_row)
        with nullcontext() if reuse is None else reuse.recording(None):
            yield


def _by_frames(inputs: Sequence[ModelInput]) -> Iterator[list[int]]:
    """Places of inputs with equally many frames: LLaVA-OneVision takes only such videos together."""
    groups: dict[int, list[int]] = {}
    for place, entry in enumerate(inputs):
        groups.setdefault(num_frames_of(entry), []).append(place)
    yield from groups.values()


REFUSED = "the model does not take this item"
