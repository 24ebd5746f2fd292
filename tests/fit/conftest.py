"""Pictures that differ, and the model that all fits start from."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pytest
from PIL import Image, ImageDraw

COLOURS = ("red", "green", "blue", "orange", "purple", "black", "brown", "pink")
SHAPES = ("circle", "square", "line", "cross", "triangle", "ring", "bar", "dot")

WriteTable = Callable[[str, Sequence[dict[str, Any]]], Path]


def draw(number: int) -> tuple[Image.Image, str]:
    """One of 64 drawings, and what it shows."""
    colour, shape = COLOURS[number % 8], SHAPES[number // 8 % 8]
    image = Image.new("RGB", (64, 64), "white")
    pen = ImageDraw.Draw(image)
    box = (12, 12, 52, 52)
    {
        "circle": lambda: pen.ellipse(box, fill=colour),
        "square": lambda: pen.rectangle(box, fill=colour),
        "line": lambda: pen.line((4, 60, 60, 4), fill=colour, width=5),
        "cross": lambda: (pen.line((4, 4, 60, 60), colour, 8), pen.line((4, 60, 60, 4), colour, 8)),
        "triangle": lambda: pen.polygon((32, 8, 56, 56, 8, 56), fill=colour),
        "ring": lambda: pen.ellipse(box, outline=colour, width=6),
        "bar": lambda: pen.rectangle((26, 4, 38, 60), fill=colour),
        "dot": lambda: pen.ellipse((28, 28, 36, 36), fill=colour),
    }[shape]()
    return image, f"a {colour} {shape}"


@pytest.fixture(scope="session")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 64 pictures, ``0.png`` to ``63.png``."""
    folder = tmp_path_factory.mktemp("drawings")
    for number in range(64):
        draw(number)[0].save(folder / f"{number}.png")
    return folder


@pytest.fixture
def table(drawings: Path) -> WriteTable:
    """Writes a CSV beside the drawings."""

    def write(name: str, rows: Sequence[dict[str, Any]]) -> Path:
        path = drawings / name
        pc.write_csv(pa.Table.from_pylist(list(rows)), path)
        return path

    return write


def pairs(number: int = 64) -> list[dict[str, Any]]:
    """Rows of a picture, its caption and a number that is nothing."""
    return [{"id": place, "photo": f"{place}.png", "caption": draw(place)[1]} for place in range(number)]
