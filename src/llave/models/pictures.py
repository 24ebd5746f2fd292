"""A picture in any form, as the model sees it. Without sentence-transformers: the nano model's processor uses it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from llave.data.door import named
from llave.data.images import load_image, to_rgb, upright
from llave.data.inline import inline_bytes

__all__ = ["each_part", "fit_picture", "fit_pictures_of"]


def fit_picture(picture: Any) -> Any:
    """A picture as upright RGB; an array, and an address in the web, as it is.

    Raises:
        DataError: it cannot be decoded.
    """
    if isinstance(picture, Image.Image):
        with named(f"a picture of {picture.size[0]}x{picture.size[1]}"):  # Pillow opens it before it decodes it
            return to_rgb(upright(picture))
    if isinstance(picture, (bytes, Path)) or (isinstance(picture, str) and not picture.startswith("http")):
        inline = inline_bytes(picture) if isinstance(picture, str) else None
        return load_image(picture if inline is None else inline)
    return picture


def fit_pictures_of(messages: Any) -> Any:
    """Chat messages, or conversations of them, with their pictures fitted."""
    return each_part(messages, lambda key, value: fit_picture(value) if key == "image" else value)


def each_part(entry: Any, part: Callable[[str, Any], Any]) -> Any:
    """Messages with every part of their content replaced."""
    if isinstance(entry, (list, tuple)):
        return [each_part(one, part) for one in entry]
    if not isinstance(entry, dict) or "content" not in entry:
        return entry
    content = entry["content"]
    if isinstance(content, str):
        return {**entry, "content": part("text", content)}
    if not isinstance(content, (list, tuple)):
        return entry
    parts = [
        {**one, **{key: part(key, one[key]) for key in ("text", "image", "video", "audio") if key in one}}
        if isinstance(one, dict)
        else one
        for one in content
    ]
    return {**entry, "content": parts}
