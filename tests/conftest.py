"""Shared fixtures: the untrained nano model, and a few real pictures drawn by the test."""

from collections.abc import Callable

import pytest
from PIL import Image, ImageDraw
from sentence_transformers import SentenceTransformer

from llave import load_model


@pytest.fixture(scope="session")
def nano_untouched() -> SentenceTransformer:
    """One nano model for tests that only read it."""
    return load_model("nano", device="cpu")


@pytest.fixture
def picture() -> Callable[[int], Image.Image]:
    """Pictures that differ: coloured shapes of different sizes."""

    def draw(number: int) -> Image.Image:
        image = Image.new("RGB", (48 + 8 * (number % 5), 64), (40 * number % 255, 90, 200 - 30 * number % 200))
        ImageDraw.Draw(image).ellipse((4, 4, 20 + 5 * number, 40), fill=(255, 255 - 20 * number % 255, 10))
        return image

    return draw
