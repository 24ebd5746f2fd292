"""SVG to pixels, by resvg."""

import io

from PIL import Image

from llave.data.door import named
from llave.errors import UserError

__all__ = ["rasterise"]


def rasterise(svg: bytes, size: int, name: str) -> bytes:
    """A drawing in one colour as a PNG, ``size`` pixels square: white, and as opaque as it was drawn.

    White, because two drawings are compared with their colours multiplied by their opacity.

    Args:
        name: for messages.

    Raises:
        UserError: resvg is not installed.
        DataError: this is no SVG.
    """
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        raise UserError("the icons are drawn by resvg-py, which is missing: pip install 'llave[sample]'") from None
    with named(name, "no SVG that resvg can draw"):
        png = svg_to_bytes(svg_string=svg.decode("utf-8"), width=size, height=size, skip_system_fonts=True)
    with Image.open(io.BytesIO(png)) as drawn:
        opacity = drawn.convert("RGBA").getchannel("A")
    white = Image.new("RGBA", opacity.size, "white")
    white.putalpha(opacity)
    buffer = io.BytesIO()
    white.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
