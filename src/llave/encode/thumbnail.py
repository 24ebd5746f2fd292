"""Small pictures of what was embedded, made while it is in memory."""

import io
from typing import Any

from PIL import Image

from llave.models.prompts import ModelInput, stacked

__all__ = ["thumbnail"]

SIDE = 256


def thumbnail(loaded: ModelInput) -> bytes:
    """A WebP, at most 256 pixels a side, of a model input's picture or its video's first frame; nothing of a text."""
    media: Any = loaded
    if isinstance(loaded, dict):
        media = loaded.get("image")
        if media is None and loaded.get("video") is not None:
            media = Image.fromarray(stacked(loaded["video"])[0])
    if not isinstance(media, Image.Image):
        return b""
    small = media.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=80)
    return buffer.getvalue()
