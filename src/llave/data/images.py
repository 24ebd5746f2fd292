"""Open a picture safely: bounded in pixels, fully decoded, upright, and in RGB.

Every picture that reaches a model goes through :func:`load_image`, so that a truncated file, a
decompression bomb, a CMYK scan or a 16-bit microscope image meets one rule in one place.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from llave.data.pages import MAX_PAGE_PIXELS, load_page, split_page
from llave.errors import DataError

__all__ = ["MAX_PIXELS", "load_image", "picture_size", "to_rgb", "upright"]

MAX_PIXELS = 40_000_000
"""Largest picture that is decoded, in pixels (120 MB as RGB)."""


def load_image(source: str | Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode the picture at a path, or in bytes, to 8-bit RGB with EXIF rotation applied.

    Args:
        source: a file path, ``FILE.pdf#page=3`` (a page, from 1, drawn at 144 dpi), or the encoded bytes.
        max_pixels: pictures with more pixels than this are refused before they are decoded; a page is drawn smaller.

    Raises:
        DataError: missing, truncated, too large, or not a picture; the message names the file.
        UserError: a page, and pypdfium2 is not installed.
    """
    if not isinstance(source, bytes):
        document, page = split_page(source)
        if page is not None:
            return load_page(document, page, max_pixels=min(max_pixels, MAX_PAGE_PIXELS))
        if document.suffix.lower() == ".pdf":
            raise DataError(f"{source}: a document; name a page of it: {document.name}#page=1")
    name = f"{len(source)} bytes" if isinstance(source, bytes) else str(source)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise DataError(
                    f"{name}: {width}x{height} pixels, more than the limit of {max_pixels:,}; shrink the picture"
                )
            image.load()
            return to_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise DataError(f"{name}: no such picture") from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: not a picture that Pillow can read") from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        RuntimeError,
        Image.DecompressionBombError,
    ) as error:  # AVIF: RuntimeError
        raise DataError(f"{name}: cannot decode ({error})") from None


def picture_size(head: bytes) -> tuple[int, int] | None:
    """Height and width from a file's first block; None of what is no plain picture: loading says why."""
    try:
        with Image.open(io.BytesIO(head)) as image:
            return image.height, image.width
    except Exception:  # whatever a decoder raises
        return None


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of any Pillow mode. Transparency becomes white; 16-bit grey keeps its upper 8 bits."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith(("I", "F")):  # Pillow's own conversion clips these at 255, leaving white
        values = np.asarray(image).astype(np.float64)
        if image.mode == "F" and values.size and values.max() <= 1.0:
            values = values * 65535.0
        return Image.fromarray(np.clip(values / 257.0, 0, 255).round().astype(np.uint8)).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image) -> Image.Image:
    """The picture as its EXIF says it is held; as it is, where that says nothing or cannot be read."""
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # metadata never costs a picture
        return image
    if turn is None:
        return image
    turned = image.transpose(turn)
    for name in ("exif", "xmp", "XML:com.adobe.xmp"):  # or it would be turned again
        turned.info.pop(name, None)
    return turned
