"""What is searched for: a text, a picture or a sound, a text with either, or more of an item."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from llave.encode.encoder import Encoder
from llave.encode.forward import Refused
from llave.encode.item import Item
from llave.errors import UserError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["combine", "embed_query"]


def combine(text_D: NDArray[np.float32], image_D: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
    """A unit vector between two: ``(1 - weight) * text + weight * image``.

    Raises:
        UserError: a weight outside [0, 1], or two vectors that cancel each other.
    """
    if not 0 <= weight <= 1:
        raise UserError(f"weight {weight:g}: the share of the picture lies between 0 and 1")
    mixed_D = (1 - weight) * text_D + weight * image_D
    norm = float(np.linalg.norm(mixed_D))
    if norm < 1e-6:
        raise UserError("the text and the picture are opposites, nothing lies between them; choose another weight")
    unit_D: NDArray[np.float32] = (mixed_D / norm).astype(np.float32)
    return unit_D


def embed_query(
    model: "SentenceTransformer",
    query: str | Item = "",
    *,
    image: str | Path | bytes | Image.Image | None = None,
    audio: str | Path | bytes | None = None,
    weight: float | None = None,
    prompt: str = "",
) -> NDArray[np.float32]:
    """The unit vector (D,) of a query.

    Args:
        query: a text, or an item that is one already.
        image: a picture, with or without a text.
        audio: a sound, with or without a text.
        weight: share of the picture or sound between two vectors, its own and one of the text; None gives both to the
            model at once, which relates them ("this, but in red").
        prompt: before the query, as sentence-transformers takes it.

    Raises:
        UserError: nothing to search for, both a picture and a sound, a weight without a text and one of these, or what
            the model does not take.
    """
    if isinstance(query, Item):
        if image is not None or audio is not None:
            raise UserError("the query is an item already; put the picture or sound into it")
        items = [query]
    else:
        picture = Path(image) if isinstance(image, str) else image
        sound = Path(audio) if isinstance(audio, str) else audio
        if not query.strip() and picture is None and sound is None:
            raise UserError("nothing to search for: give a text, a picture, a sound, or a text with either")
        if weight is not None and (not query.strip() or (picture is None and sound is None)):
            raise UserError("a weight is between a text and a picture or sound; give both, or leave it out")
        items = [Item(query, picture, audio=sound)]
        if weight is not None:
            items = [Item(query), Item(image=picture, audio=sound)]
    vectors = []
    encoder = Encoder(model, prompt=prompt)
    for outcome in encoder(items):
        if isinstance(outcome, Refused):
            raise UserError(f"the query cannot be embedded: {outcome}")
        vectors.append(outcome)
    if encoder.cut_sounds:
        warnings.warn(f"only the first {encoder.reading.hearing.seconds:g} s of the sound are heard", stacklevel=2)
    if encoder.cut:
        warnings.warn(f"the query is longer than the {model.max_seq_length} tokens that the model reads", stacklevel=2)
    return vectors[0] if weight is None else combine(vectors[0], vectors[1], weight)
