"""What an open model is, in plain numbers and words: sizes, pooling, template, what a picture costs."""

import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from llave.data.door import reason_of
from llave.models.about import dtype_of
from llave.models.loaded.compare import folder_of
from llave.models.loaded.difference import read_json
from llave.models.model import EmbeddingModel
from llave.models.pooled import UNLIMITED
from llave.models.prompts import kinds_of, model_input

__all__ = ["FRAMES", "SIZE", "Overview", "overview"]

SIZE = (640, 480)
"""Width and height of the picture that is measured, in pixels."""
FRAMES = 8
"""Of the film that is measured, each of that size."""
_SHOWN = 76
_RUN = 4
_DIMENSIONS = re.compile(r'"?matryoshka_dim(?:ension)?s"?\s*:\s*\[([\d,\s]+)\]')
_TRAINING_BYTES = 16
"""Of a parameter, its gradient and AdamW's two moments in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """An open model; None is what it does not have, or what its files do not say.

    Attributes:
        family: ``model_type`` of its configuration.
        matryoshka: lengths to which its vectors may be cut, as its configuration or card says.
        pooling: how tokens become one vector.
        text: a text as the model reads it, template and all; long ones without their middle.
        fused: a picture and a text.
        picture: tokens that a picture of ``SIZE`` costs, and what the network is given of it; or why it cannot be read.
        film: tokens of ``FRAMES`` frames.
        weights_bytes: of memory, as loaded.
        training_bytes: parameters, gradients and AdamW's moments in float32, activations aside.
    """

    name: str
    directory: str | None
    family: str
    network: str
    parameters: int
    dtype: str
    device: str
    dimension: int | None
    matryoshka: list[int] = field(default_factory=list)
    pooling: str
    normalised: bool
    takes: list[str]
    fusion: str | None
    max_tokens: int | None
    text: str | None
    fused: str | None
    prompts: dict[str, str]
    picture: str | None
    film: str | None
    weights_bytes: int
    training_bytes: int


def overview(model: EmbeddingModel, name: str) -> Overview:
    """All that can be said without embedding anything.

    Raises:
        DataError: a file of the checkpoint that cannot be read.
    """
    folder = folder_of(model)
    transformer = model[0]
    network: Any = getattr(transformer, "model", transformer)
    sizes = [parameter.numel() for parameter in model.parameters()]
    image, frames = Image.new("RGB", SIZE), [Image.new("RGB", SIZE)] * FRAMES
    fused = model_input("TEXT", image) if model.supports("image") else None
    film = model_input("TEXT", None, video=frames) if model.supports("video") else None
    return Overview(
        name=name,
        directory=None if folder is None else str(folder),
        family=str(getattr(getattr(network, "config", None), "model_type", "unknown")),
        network=type(network).__name__,
        parameters=sum(sizes),
        dtype=dtype_of(model),
        device=str(model.device),
        dimension=model.get_embedding_dimension(),
        matryoshka=_matryoshka(folder),
        pooling=_pooling(model),
        normalised=any(isinstance(module, Normalize) for module in model),
        takes=kinds_of(model),
        fusion=(model.fusion or "mean") if model.is_dual else None,
        max_tokens=None if (limit := model.max_seq_length) is None or limit > UNLIMITED else limit,
        text=_read(model, "TEXT"),
        fused=None if fused is None else _read(model, fused),
        prompts={key: words for key, words in model.prompts.items() if words},
        picture=None if fused is None else _cost(model, fused),
        film=None if film is None else _cost(model, film),
        weights_bytes=sum(value.numel() * value.element_size() for value in model.parameters()),
        training_bytes=sum(sizes) * _TRAINING_BYTES,
    )


def _pooling(model: EmbeddingModel) -> str:
    found = [module.pooling_mode for module in model if isinstance(module, Pooling)]
    if found:
        return found[0] if isinstance(found[0], str) else " + ".join(found[0])
    return "the network's own vector" if isinstance(model[0], Transformer) else "as its modules do it"


def _matryoshka(folder: Path | None) -> list[int]:
    """As the configuration says, or sentence-transformers' card of the training."""
    if folder is None:
        return []
    config = read_json(folder / "config.json")
    said = config.get("matryoshka_dims") or config.get("matryoshka_dimensions")
    card = folder / "README.md"
    if not said and card.is_file() and (found := _DIMENSIONS.search(card.read_text("utf-8", "replace"))):
        said = found[1].replace(",", " ").split()
    return sorted({int(length) for length in said or []}, reverse=True)


def _read(model: EmbeddingModel, entry: Any) -> str | None:
    """An input as the tokens say it: runs of a token counted, the middle of a long one left out."""
    try:
        features = model.preprocess([entry])
    except Exception as error:  # whatever the model's code raises; the self-test fails for it
        return reason_of(error)
    if "input_ids" not in features or model.tokenizer is None:
        return None
    ids: list[int] = features["input_ids"][0].tolist()
    words = ""
    waiting: list[int] = []
    for token, run in itertools.groupby(ids):
        length = len(list(run))
        if length < _RUN:
            waiting += [token] * length
            continue
        words += f"{model.tokenizer.decode(waiting)}{model.tokenizer.decode([token])}×{length}"
        waiting = []
    words += model.tokenizer.decode(waiting)
    return words if len(words) <= 2 * _SHOWN else f"{words[:_SHOWN]} … {words[-_SHOWN:]}"


def _cost(model: EmbeddingModel, entry: Any) -> str:
    """Tokens more than the text alone, and the shapes of what else the network is given."""
    try:
        with_media, alone = model.preprocess([entry]), model.preprocess(["TEXT"])
    except Exception as error:
        return reason_of(error)
    pixels = [f"{key} {tuple(np.shape(value))}" for key, value in with_media.items() if key.startswith("pixel_values")]
    if "input_ids" not in with_media:
        return ", ".join(pixels)
    more = with_media["input_ids"].shape[1] - alone["input_ids"].shape[1]
    return ", ".join([f"{more} tokens", *pixels])
