"""Pictures that the tests draw: distinct ones, copies of them, and such as say nothing."""

import io
import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

__all__ = ["COPIES", "draw", "page", "save_copy"]


def draw(seed: int, side: int = 160) -> Image.Image:
    """A scene of coloured shapes, another one for each seed."""
    rng = random.Random(seed)
    image = Image.new("RGB", (side, side * 3 // 4), tuple(rng.randrange(256) for _ in range(3)))
    pencil = ImageDraw.Draw(image)
    for _ in range(9):
        x, y, r = rng.randrange(side), rng.randrange(side), rng.randrange(side // 12, side // 4)
        shape = rng.choice((pencil.ellipse, pencil.rectangle))
        shape((x - r, y - r, x + r, y + r), fill=tuple(rng.randrange(256) for _ in range(3)))
    return image


def page(seed: int) -> Image.Image:
    """A page of text, in the large like any other one."""
    rng = random.Random(seed)
    image = Image.new("RGB", (480, 640), "white")
    font = ImageFont.load_default(size=13)
    for y in range(40, 600, 17):
        line = " ".join("".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(9))
        ImageDraw.Draw(image).text((40, y), line[:52], fill="black", font=font)
    return image


COPIES = ("same.png", "q95.jpg", "q50.jpg", "q30.jpg", "half.png", "double.png", "small.jpg", "w50.webp", "less.webp")
"""Ways to copy a picture."""


def save_copy(image: Image.Image, way: str, path: Path) -> None:
    """A copy made in one of these ways."""
    name, _, suffix = way.partition(".")
    factor = {"half": 0.5, "double": 2.0, "small": 0.7}.get(name, 1.0)
    if factor != 1:
        image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)
    options: dict[str, object] = {"quality": int(name[1:])} if name[1:].isdigit() else {}
    options |= {"lossless": True} if name == "less" else {}
    options |= {"quality": 70} if name == "small" else {}
    buffer = io.BytesIO()
    image.save(buffer, {"jpg": "JPEG"}.get(suffix, suffix.upper()), **options)
    path.write_bytes(buffer.getvalue())
