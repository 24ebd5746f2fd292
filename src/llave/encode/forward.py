"""One batch of model inputs to vectors, with what a long run needs: memory that runs out, inputs that are refused."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from llave.data.door import reason_of
from llave.models.prompts import ModelInput, num_frames_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base import BaseModel

__all__ = ["Forward", "Halving", "Outcome", "Refused", "Vector", "pictures_once"]

Vector = NDArray[np.float32]
"""A unit vector (D,)."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an item has no vector.

    Args:
        kind: ``"file"``: its picture, page or film cannot be read; ``"model"``: the model does not take such an item;
            ``"memory"``: there is none for it; ``"number"``: its vector is zero or not finite.
        reason: one line for a person.
    """

    kind: Literal["file", "model", "memory", "number"]
    reason: str

    def __str__(self) -> str:
        return self.reason


Outcome = Vector | Refused
Given = TypeVar("Given")
Found = TypeVar("Found")


class Halving:
    """A model, and how many inputs at once its memory was found to hold.

    Args:
        what: an input is called in messages.
    """

    def __init__(self, model: "BaseModel", what: str) -> None:
        self._model, self._what = model, what
        self.fits: int | None = None

    def __call__(
        self, run: Callable[[Sequence[Given]], Sequence[Found]], inputs: Sequence[Given]
    ) -> list[Found | Refused]:
        """What ``run`` makes of inputs that may stand in one forward pass. One that it refuses is found by halving, and
        costs no other one."""
        step = self.fits or len(inputs)
        return [
            each for start in range(0, len(inputs), step or 1) for each in self._some(run, inputs[start : start + step])
        ]

    def _some(
        self, run: Callable[[Sequence[Given]], Sequence[Found]], inputs: Sequence[Given]
    ) -> Sequence[Found | Refused]:
        import torch

        try:
            return run(inputs)
        except torch.OutOfMemoryError:
            if len(inputs) == 1:
                return [Refused("memory", f"no memory on {self._model.device} for this {self._what} alone")]
            self.fits = len(inputs) // 2
        except Exception as error:  # whatever a processor or a model raises for an input that it cannot take
            if len(inputs) == 1:
                return [Refused("model", f"the model does not take this {self._what} ({reason_of(error)})")]
        torch.cuda.empty_cache()
        middle = len(inputs) // 2
        return [*self._some(run, inputs[:middle]), *self._some(run, inputs[middle:])]


@contextmanager
def pictures_once(model: "BaseModel") -> Iterator[None]:
    """A picture that occurs more than once in a batch passes the vision tower once."""
    from llave.models.tower_reuse import TowerReuse, once_per_row, vision_tower

    network: Any = getattr(model[0], "model", None)
    tower = vision_tower(network)
    layers = getattr(getattr(network, "config", None), "vision_feature_layer", None)
    reuse = None if tower is None else TowerReuse(tower, layers=layers, lru=once_per_row)
    with nullcontext() if reuse is None else reuse.recording(None):
        yield


class Forward:
    """A model for batches of inputs.

    Args:
        raw: texts are for the processor as they are, see :mod:`llave.models.raw`.
    """

    def __init__(self, model: "SentenceTransformer", *, raw: bool = False) -> None:
        self.model = model.eval()
        self.raw = raw
        self._halving = Halving(model, "item")

    def __call__(
        self, inputs: Sequence[ModelInput], prompts: Sequence[str | None] = (), *, equal_pictures: bool = True
    ) -> list[Outcome]:
        """A unit vector, or why there is none, per input.

        An input that the model refuses is found by halving its batch, and costs no other one.

        Args:
            prompts: one before each, as ``SentenceTransformer.encode`` takes it; None is the model's default.
            equal_pictures: look for pictures that occur more than once. Where there can be none, hashing their pixels
                would be 5% of a small model's time.
        """
        found: dict[int, Outcome] = {}
        with pictures_once(self.model) if equal_pictures else nullcontext():
            for places, prompt in self._alike(inputs, prompts or [None] * len(inputs)):
                run = partial(self._forward, prompt=prompt)
                found |= zip(places, self._halving(run, [inputs[place] for place in places]), strict=True)
        return [found[place] for place in range(len(inputs))]

    def _alike(
        self, inputs: Sequence[ModelInput], prompts: Sequence[str | None]
    ) -> Iterator[tuple[list[int], str | None]]:
        """Places of inputs that may stand in one forward pass: LLaVA-OneVision takes only videos of equally many frames
        together, and sentence-transformers one prompt."""
        groups: dict[tuple[int, str | None], list[int]] = {}
        for place, (entry, prompt) in enumerate(zip(inputs, prompts, strict=True)):
            groups.setdefault((num_frames_of(entry), self._prompt(prompt)), []).append(place)
        for (_, prompt), places in groups.items():
            yield places, prompt

    def _prompt(self, prompt: str | None) -> str | None:
        """The text of a prompt; the model's default where none is given."""
        if prompt is not None or self.model.default_prompt_name is None:
            return prompt or None
        return self.model.prompts.get(self.model.default_prompt_name) or None

    def _forward(self, inputs: Sequence[ModelInput], prompt: str | None) -> list[Outcome]:
        """What ``SentenceTransformer.encode`` does for one batch, which besides sets the mode of every module and asks
        every weight where it is: 1.5 ms of 14 for a short text of the nano model on a CPU.

        Normalised again in float32, because half precision leaves norms off by 1e-3.
        """
        import torch
        from sentence_transformers.util import batch_to_device

        with torch.inference_mode():
            features = self._features(inputs, prompt)
            embedding = self.model(batch_to_device(features, self.model.device))["sentence_embedding"]
        embedding_BD: NDArray[np.float32] = embedding[:, : self.model.truncate_dim].float().cpu().numpy()
        norm_B = np.linalg.norm(embedding_BD, axis=1)
        return [
            vector_D / norm
            if np.isfinite(norm) and norm > 0
            else Refused("number", "the model's embedding of this item is zero or not finite")
            for vector_D, norm in zip(embedding_BD, norm_B, strict=True)
        ]

    def _features(self, inputs: Sequence[ModelInput], prompt: str | None) -> dict[str, Any]:
        if not self.raw:
            return self.model.preprocess(list(inputs), prompt=prompt)
        from llave.models.raw import raw_features

        return raw_features(self.model, inputs)
