"""What requests have to know of a model, wherever it runs: its names, lengths, prompts and tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from llave.data.sound import Hearing
from llave.encode.encoder import TOKENS_PER_BATCH
from llave.encode.tokens import Tokens
from llave.search.maker import Maker
from llave.serving.batcher import BatchPlan
from llave.serving.errors import bad_request
from llave.serving.limits import Limits

__all__ = ["AnyProfile", "EmbedProfile", "RerankProfile", "batch_plan", "values_of"]

PICTURES_ON_CPU = 16
"""More in a batch are no faster on a CPU, and the next text would wait for them."""
VIDEOS = 4
SOUNDS = 16
PADDING = {"cpu": (64, 0.1), "cuda": (4096, 0.5)}
"""Tokens and share of padding in a batch. A forward pass of the nano model costs as much as about 45 more tokens on a
CPU; a GPU has idle units until thousands."""


def batch_plan(device: str, limits: Limits) -> BatchPlan:
    """Bounds of a batch on a device, such as ``"cpu"`` or ``"cuda:1"``."""
    kind = device.partition(":")[0]
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


@dataclass(kw_only=True, eq=False)
class _Profile:
    name: str
    names: frozenset[str]
    modalities: list[str]
    hearing: Hearing
    tokens: Tokens
    device: str
    fingerprint: str = ""

    def plan(self, limits: Limits) -> BatchPlan:
        """Bounds of a batch on the model's device."""
        return batch_plan(self.device, limits)


@dataclass(kw_only=True, eq=False)
class EmbedProfile(_Profile):
    """Of a model that embeds.

    Args:
        name: that requests use; the other ``names`` mean it, too.
        device: e.g. ``"cpu"`` or ``"cuda:1"``.
        fingerprint: of its weights and settings; empty where nobody has asked.
        dimension: length of its vectors.
        dimensions: that they may be cut to.
        dtype: of its weights.
        quantize: "none" or "int8".
    """

    dimension: int
    dimensions: list[int]
    prompts: Mapping[str, str | None]
    dtype: str
    quantize: str

    def made(self) -> Maker:
        """What it is to an index."""
        return Maker(self.fingerprint, self.dimension, self.dtype, self.quantize)

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
        return self.prompts.get(input_type) or ""


@dataclass(kw_only=True, eq=False)
class RerankProfile(_Profile):
    """Of a reranker.

    Args:
        room: tokens of a query and a document together, without those that the model puts around them; None: any
            number.
    """

    room: int | None


AnyProfile = EmbedProfile | RerankProfile


def values_of(profile: AnyProfile) -> dict[str, Any]:
    """The values of its fields, not copied."""
    kind = EmbedProfile if isinstance(profile, EmbedProfile) else RerankProfile
    return {field.name: getattr(profile, field.name) for field in fields(kind)}
