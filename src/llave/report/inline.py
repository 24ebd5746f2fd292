"""Figures and pictures as pieces of one HTML file: nothing is loaded from elsewhere."""

import base64
import io
import re
from html import escape
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from llave.data.images import load_image
from llave.data.video import load_video
from llave.report.plots import INK, style

__all__ = ["inline_svg", "thumbnail"]


def inline_svg(figure: Figure, prefix: str, description: str) -> Markup:
    """The figure as an ``<svg>`` element that takes the page's text colour.

    Args:
        prefix: makes the element's ids unique in the page.
        description: what a reader hears who cannot see the figure.
    """
    buffer = io.StringIO()
    with style():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg).replace("url(#", f"url(#{prefix}-")
    svg = svg.replace('href="#', f'href="#{prefix}-').replace(INK, "currentColor")
    svg = re.sub(r'(<svg[^>]*?)\swidth="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?)\sheight="[^"]*"', r"\1", svg, count=1)
    # a picture to a screen reader, not a pile of numbers
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1))


def thumbnail(path: Path, side: int = 144, *, video: bool = False) -> str:
    """A picture, or the first frame of a video, as a WebP data URI, at most ``side`` pixels wide and high.

    Raises:
        DataError: a file that cannot be decoded.
        UserError: a page or a film, and the package that reads it is not installed.
    """
    image = load_video(path, num_frames=1)[0] if video else load_image(path)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=78)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
