"""From an MMEB item to what ``SentenceTransformer.encode`` takes."""

from typing import Any

from PIL import Image

from llave.data.images import load_image
from llave.data.mmeb import Item, PictureFolder, strip_placeholder
from llave.errors import DataError

__all__ = ["ModelInput", "model_input", "to_model_input"]

ModelInput = str | Image.Image | dict[str, Any]


def to_model_input(item: Item, folder: PictureFolder) -> ModelInput:
    """Text, picture or both, the picture decoded.

    Raises:
        DataError: a picture that cannot be decoded, or nothing to embed.
    """
    path = folder.image(item)
    return model_input(item.text, None if path is None else load_image(path))


def model_input(text: str, image: Image.Image | None, *, prompt: str = "") -> ModelInput:
    """Combine a prompt, an MMEB text and a decoded picture.

    Raises:
        DataError: neither a text nor a picture.
    """
    text = (prompt + strip_placeholder(text)).strip()
    if image is None:
        if not text:
            raise DataError("an item has neither a text nor a picture")
        return text
    # The picture first: templates that keep the order of the parts (Qwen-VL, SmolVLM) were trained that way.
    return {"image": image, "text": text} if text else image
