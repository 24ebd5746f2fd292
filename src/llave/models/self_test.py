"""Whether an open model embeds as an embedding must: a text, a picture, both, a film, alone as beside others.

The inputs are made here, so that the test needs no file and no network. Every probe measures one number.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from torch import Tensor

from llave.data.door import reason_of
from llave.models.cut import common_end
from llave.models.model import EmbeddingModel
from llave.models.prompts import model_input

__all__ = ["Probe", "self_test"]

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6, torch.float16: 2e-2, torch.bfloat16: 5e-2}
"""Distance of two unit vectors that are to be the same, by the type of the weights; what differs is farther apart."""
TEXTS = ("a crab on the beach", "the annual report of a bank, with its tables and footnotes")
SIZES = ((160, 120), (96, 144))
FRAMES = 4
_LONGEST = 2_000_000
"""Tokens; who reads more is not given a longer text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One thing that was tried.

    Attributes:
        name: what.
        ok: whether it is as it must be.
        measured: the number, or the error, in words.
        wanted: what it must be.
    """

    name: str
    ok: bool
    measured: str
    wanted: str


def self_test(model: EmbeddingModel) -> Iterator[Probe]:
    """The probes that the model's modalities allow, one after the other; an error of the model fails its probe."""
    return _SelfTest(model).run()


class _SelfTest:
    def __init__(self, model: EmbeddingModel) -> None:
        self.model = model
        self.tolerance = TOLERANCE.get(next(model.parameters()).dtype, max(TOLERANCE.values()))
        self.normalised = any(isinstance(module, Normalize) for module in model)
        # where positions are counted from the left (BERT), padding there moves them, and nobody puts it there
        self.last_token = any(isinstance(one, Pooling) and "lasttoken" in one.pooling_mode for one in model)
        self.alone: dict[str, Tensor] = {}
        self.inputs = _inputs(model)

    def run(self) -> Iterator[Probe]:
        apart = f"two apart, length 1 ± {self.tolerance:g}" if self.normalised else "two apart"
        for kind in self.inputs:
            yield self._tried(kind, apart, functools.partial(self._kind, kind))
        if {"text", "picture", "fused"} <= self.alone.keys():
            yield self._tried("fused is neither alone", f"> {self.tolerance:g}", self._both_count)
        if self.alone:
            yield self._tried("mix: alone = together", f"≤ {self.tolerance:g}", self._mix)
        if self.last_token and "text" in self.alone:
            yield self._tried("padding on the other side", f"≤ {self.tolerance:g}", self._other_side)
        if self.model.tokenizer is not None and "text" in self.inputs:
            yield self._tried("a long text is cut inside", "its end stays", self._long)

    def _tried(self, name: str, wanted: str, probe: Callable[[], tuple[bool, str]]) -> Probe:
        try:
            ok, measured = probe()
        except Exception as error:  # whatever the model's code raises is what the probe found
            ok, measured = False, reason_of(error)
        return Probe(name=name, ok=ok, measured=measured, wanted=wanted)

    def _vectors(self, inputs: list[Any]) -> Tensor:
        """(N, D) float32, of one batch."""
        found: Tensor = self.model.encode(
            inputs, batch_size=len(inputs), convert_to_tensor=True, show_progress_bar=False
        )
        return found.float().cpu()

    def _kind(self, kind: str) -> tuple[bool, str]:
        """Two inputs of a kind, each alone: finite, of length 1, and not the same."""
        vectors = torch.cat([self._vectors([one]) for one in self.inputs[kind]])
        if not bool(vectors.isfinite().all()):
            return False, "numbers that are not finite"
        self.alone[kind] = vectors
        lengths = vectors.norm(dim=1)
        apart = float((vectors[0] / lengths[0] - vectors[1] / lengths[1]).norm())
        off = float((lengths - 1).abs().max())
        ok = apart > self.tolerance and (off <= self.tolerance or not self.normalised)
        return ok, f"{apart:.3g} apart, length {float(lengths[0]):.4f}"

    def _both_count(self) -> tuple[bool, str]:
        """A fused vector moves with its text and with its picture."""
        least = min(float((self.alone["fused"][0] - self.alone[kind][0]).norm()) for kind in ("text", "picture"))
        return least > self.tolerance, f"{least:.3g} from the nearer part"

    def _mix(self) -> tuple[bool, str]:
        """Every kind but films, which some families take in batches of their own."""
        kinds = [kind for kind in self.alone if kind != "video"]
        return self._farthest(kinds, self._vectors([one for kind in kinds for one in self.inputs[kind]]))

    def _other_side(self) -> tuple[bool, str]:
        tokenizer = self.model.tokenizer
        before = tokenizer.padding_side
        tokenizer.padding_side = "left" if before == "right" else "right"
        try:
            return self._farthest(["text"], self._vectors(self.inputs["text"]))
        finally:
            tokenizer.padding_side = before

    def _farthest(self, kinds: list[str], together: Tensor) -> tuple[bool, str]:
        far = float((torch.cat([self.alone[kind] for kind in kinds]) - together).norm(dim=1).max())
        return far <= self.tolerance, f"{far:.2g}"

    def _long(self) -> tuple[bool, str]:
        """What the template puts behind a text is there behind a cut one too."""
        limit = self.model.max_seq_length
        if limit is None or limit > _LONGEST:
            return True, "it reads any length"
        before = self.model.cuts.tokens
        texts = ("0", "1 2 3 4", "a " * (limit + 8))
        one, other, long = (self.model.preprocess([text])["input_ids"][0] for text in texts)
        end, cut = common_end(one, other), self.model.cuts.tokens - before
        kept = end == 0 or torch.equal(long[-end:], one[-end:])
        return kept and cut > 0 and len(long) <= limit, f"{len(long)} tokens of {limit}, {cut} cut, {end} at the end"


def _inputs(model: EmbeddingModel) -> dict[str, list[Any]]:
    """Two different inputs of each kind that the model takes."""
    inputs: dict[str, list[Any]] = {}
    if model.supports("text"):
        inputs["text"] = list(TEXTS)
    if model.supports("image"):
        pictures = [_picture(number) for number in (0, 1)]
        inputs["picture"] = pictures
        if model.supports("text"):
            inputs["fused"] = [model_input(TEXTS[0], pictures[0]), model_input(TEXTS[1], pictures[0])]
    if model.supports("video"):
        films = [[_picture(start + frame).resize((112, 112)) for frame in range(FRAMES)] for start in (0, FRAMES)]
        inputs["video"] = [model_input("", None, video=frames) for frames in films]
    return inputs


def _picture(number: int) -> Image.Image:
    """A soft gradient with a disc: unlike the next in colour, form and size."""
    width, height = SIZES[number % 2]
    ramp = np.linspace(0, 255, width, dtype=np.float32)
    rows = np.stack([np.roll(ramp, 40 * number), ramp[::-1], np.full(width, 60 * number % 255)], axis=-1)
    image = Image.fromarray(np.broadcast_to(rows, (height, width, 3)).astype(np.uint8))
    box = (10 + 9 * number, 8, 60 + 9 * number, 70)
    ImageDraw.Draw(image).ellipse(box, fill=(255 - 50 * number % 255, 40 * number % 255, 90))
    return image
