"""Scenes: a few drawings of one artist on a coloured canvas, for questions and for grounding."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from llave.sample.domain import RGB, Concept

__all__ = ["COLOURS", "SCENE_SIZE", "Scene", "crop", "draw_scene", "plan_scene"]

SCENE_SIZE = 224  # pixels
CELL = SCENE_SIZE // 2
SIZES = (64, 96)  # pixels, smallest and largest
COLOURS: dict[str, RGB] = {
    "red": (235, 120, 120),
    "green": (140, 205, 140),
    "blue": (130, 170, 235),
    "yellow": (245, 230, 130),
    "white": (255, 255, 255),
    "grey": (170, 170, 170),
    "black": (40, 40, 40),
    "pink": (250, 190, 215),
}


@dataclass(frozen=True, slots=True)
class Placed:
    """A drawing in a scene: its box's left, top and size in pixels."""

    concept: Concept
    left: int
    top: int
    size: int


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands where, left to right in reading order of the 2 x 2 grid."""

    artist: str
    colour: str
    placed: tuple[Placed, ...]


def plan_scene(concepts: Sequence[Concept], artist: str, rng: random.Random) -> Scene:
    """Place 2 to 4 different concepts in the cells of a 2 x 2 grid, jittered; boxes never overlap."""
    cells = sorted(rng.sample(range(4), len(concepts)))
    placed = []
    for concept, cell in zip(concepts, cells, strict=True):
        size = rng.randint(*SIZES)
        left = (cell % 2) * CELL + rng.randint(0, CELL - size)
        top = (cell // 2) * CELL + rng.randint(0, CELL - size)
        placed.append(Placed(concept, left, top, size))
    return Scene(artist, rng.choice(sorted(COLOURS)), tuple(placed))


def draw_scene(scene: Scene, drawings: dict[str, Image.Image]) -> Image.Image:
    """The scene as an RGB picture.

    Args:
        drawings: RGBA drawing of each concept, by key.
    """
    canvas = Image.new("RGBA", (SCENE_SIZE, SCENE_SIZE), (*COLOURS[scene.colour], 255))
    for place in scene.placed:
        drawn = drawings[place.concept.key].convert("RGBa")
        drawn = drawn.resize((place.size, place.size), Image.Resampling.LANCZOS).convert("RGBA")
        canvas.alpha_composite(drawn, (place.left, place.top))
    return canvas.convert("RGB")


def crop(picture: Image.Image, place: Placed) -> Image.Image:
    """The box of one drawing."""
    return picture.crop((place.left, place.top, place.left + place.size, place.top + place.size))
