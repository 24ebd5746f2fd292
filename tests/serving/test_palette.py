"""The map's colours: groups are told apart with any common colour vision, numbers by lightness alone."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

WEB = Path(__file__).parents[2] / "web" / "src"
GROUND = {"light": "#fbfbfc", "dark": "#14171c"}
"""Of the map, in web/src/styles/map.css."""
VISIONS = {
    # Machado, Oliveira and Fernandes (2009), severity 1, for linear RGB
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
APART = 0.09
"""Of two groups, in OKLab; what one just notices is 0.02."""


def colours(name: str, theme: str) -> list[str]:
    source = (WEB / "map" / "palette.ts").read_text()
    block = source.split(f"const {name}: Record<Theme")[1].split("};")[0]
    found = re.search(rf"{theme}: (\[[^\]]*\]|\"[^\"]*\")", block)
    assert found is not None
    value = json.loads(found[1])
    return [value] if isinstance(value, str) else list(value)


def linear(colour: str) -> NDArray[np.float64]:
    part_3 = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(part_3 <= 0.04045, part_3 / 12.92, ((part_3 + 0.055) / 1.055) ** 2.4)


def seen(colour: str, vision: str) -> NDArray[np.float64]:
    """OKLab of a colour in someone's eyes."""
    light_3 = np.clip(VISIONS[vision] @ linear(colour), 0, 1)
    return np.asarray(TO_OKLAB @ np.cbrt(TO_LMS @ light_3))


def contrast(one: str, other: str) -> float:
    bright = sorted(float(linear(each) @ [0.2126, 0.7152, 0.0722]) for each in (one, other))
    return (bright[1] + 0.05) / (bright[0] + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("vision", VISIONS)
def test_groups_are_told_apart(theme: str, vision: str) -> None:
    palette = colours("GROUPS", theme) + colours("OTHER", theme)
    assert len(palette) == 9
    near = {
        (one, other): round(float(np.linalg.norm(seen(one, vision) - seen(other, vision))), 3)
        for one, other in itertools.combinations(palette, 2)
    }
    assert min(near.values()) >= APART, sorted(near.items(), key=lambda pair: pair[1])[:5]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_stand_out_from_the_ground(theme: str) -> None:
    for name in ("GROUPS", "OTHER", "RAMPS"):
        for colour in colours(name, theme):
            least = 3.0 if name == "GROUPS" else 1.5
            assert contrast(colour, GROUND[theme]) >= least, (name, colour, contrast(colour, GROUND[theme]))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("vision", VISIONS)
def test_numbers_go_one_way_in_lightness(theme: str, vision: str) -> None:
    lightness = np.array([seen(colour, vision)[0] for colour in colours("RAMPS", theme)])
    steps = np.diff(lightness) * (-1 if theme == "light" else 1)
    assert (steps > 0.05).all(), lightness
