"""One picture from its structure: decoded, reduced where it is large, in RGB, upright.

What calls this decides where: :mod:`llave.data.images`.
"""

import io
import math
from collections.abc import Callable, Mapping
from typing import IO

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from llave.data.extras import need
from llave.data.formats.structure import Structure, Unreadable
from llave.data.orientation import upright
from llave.data.rgb import to_rgb

__all__ = ["DECODED_PIXELS", "MAX_PIXELS", "checked", "decode", "decoded_size", "open_picture"]

DECODED_PIXELS = 24_000_000
"""A picture with more is reduced by a whole number until it has no more: no model sees a tenth of that."""
MAX_PIXELS = 400_000_000
"""Largest JPEG that is decoded, at a half, a quarter or an eighth of its size."""
WHOLE_PIXELS = 180_000_000
"""Largest picture of a format that is decoded whole."""
PROGRESSIVE_BYTES = 1536 * 1024**2
"""Of a progressive JPEG's coefficients, all of which are held: 256 million pixels."""
REDUCIBLE = {"RGB", "L", "RGBA", "LA", "CMYK", "YCbCr"}


def checked(structure: Structure, max_pixels: int) -> Structure:
    """The same, if it may be decoded.

    Raises:
        Unreadable: it has too many pixels.
    """
    jpeg = structure.format == "JPEG"
    most = max_pixels if jpeg else min(max_pixels, WHOLE_PIXELS)
    if structure.pixels > most:
        size = f"{structure.width}x{structure.height}"
        raise Unreadable(f"{size} pixels, more than the limit of {most:,} (--max_pixels); shrink the picture")
    if isinstance(structure.data, bytes) and len(structure.data) < structure.least_bytes:
        raise Unreadable(
            f"truncated or corrupt: {len(structure.data):,} bytes cannot hold "
            f"{structure.width}x{structure.height} pixels"
        )
    if jpeg and structure.passes > 3 and structure.pixels * 6 > PROGRESSIVE_BYTES:
        raise Unreadable(f"{structure.pixels:,} pixels in a progressive JPEG; save it as a baseline one")
    return structure


def decode(structure: Structure) -> Image.Image:
    """The picture, 8-bit RGB.

    Raises:
        Exception: whatever its decoder raises; the caller names the file.
        UserError: HEIC, and pillow-heif is not installed.
    """
    image = open_picture(structure)
    factor = _factor(structure)
    if factor > 1 and structure.format == "JPEG":  # fewer of its waves are added up, which is also faster
        image.draft(None, (structure.width // factor, structure.height // factor))
    image.load()
    if structure.format == "TIFF":  # a copy is as large as what was read, whatever the tags say
        image = image.copy()
    if image.mode in REDUCIBLE and "transparency" not in image.info:
        image = _reduced(image)
    image = _reduced(upright(to_rgb(image), structure.orientation))
    return image if type(image) is Image.Image else image.copy()  # rid of its file


def open_picture(structure: Structure) -> Image.Image:
    """The picture before its pixels are decoded, at its first frame or its page."""
    data = structure.data
    image = OPENERS[structure.format](io.BytesIO(data) if isinstance(data, bytes) else data.open("rb"))
    if structure.directory:
        image.seek(structure.directory)
    return image


def decoded_size(structure: Structure) -> tuple[int, int]:
    """Height and width of what :func:`decode` gives."""
    factor = _factor(structure)
    height, width = -(-structure.height // factor), -(-structure.width // factor)
    return (width, height) if structure.orientation in range(5, 9) else (height, width)


def _factor(structure: Structure) -> int:
    least = max(1, math.ceil(math.sqrt(structure.pixels / DECODED_PIXELS)))
    return min(1 << (least - 1).bit_length(), 8) if structure.format == "JPEG" else least


def _reduced(image: Image.Image) -> Image.Image:
    factor = math.ceil(math.sqrt(image.width * image.height / DECODED_PIXELS))
    return image.reduce(factor) if factor > 1 else image


class _Tiff(TiffImagePlugin.TiffImageFile):
    """A page without its metadata, as it is stored: broken tags and EXIF cost nothing, and we turn it ourselves."""

    PIXELS = frozenset(
        {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 338, 339}
    ) | {347, 529, 530, 531, 532}
    """Tags that say how pixels are stored."""

    def _setup(self) -> None:
        for tag in [tag for tag in self.tag_v2 if tag not in self.PIXELS]:
            del self.tag_v2[tag]
        super()._setup()

    def load_end(self) -> None:
        """Pillow would read all EXIF here, and turn the picture."""


def _avif(file: IO[bytes]) -> Image.Image:
    """By Pillow's decoder itself, as its plugin writes EXIF anew."""
    from PIL import _avif

    decoder = _avif.AvifDecoder(file.read(), "auto", 1)
    size, _, mode, _, _, orientation, _ = decoder.get_info()
    data, *_ = decoder.get_frame(0)
    return upright(Image.frombytes(mode, size, data), orientation)


def _heif(file: IO[bytes]) -> Image.Image:
    need("pillow_heif", "pictures in HEIC")
    import pillow_heif

    image: Image.Image = pillow_heif.open_heif(file.read()).to_pillow()  # upright already
    return image


OPENERS: Mapping[str, Callable[[IO[bytes]], Image.Image]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "BMP-RLE": BmpImagePlugin.BmpImageFile,
    "ICO": IcoImagePlugin.IcoImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "TIFF": _Tiff,
    "AVIF": _avif,
    "HEIF": _heif,
}
