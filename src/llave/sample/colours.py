"""Colours of drawings that have none of their own: a function of the seed and the drawing, so that they tell nothing
about what is drawn or by whom."""

import random

from PIL import Image

from llave.sample.domain import RGB, Domain, Drawing

__all__ = ["contrast", "ink_of", "paper_of", "tint"]

LEAST_CONTRAST = 3.0
"""WCAG's for graphics."""


def paper_of(domain: Domain, drawing: Drawing, seed: int) -> RGB:
    """What the drawing is saved on."""
    return random.Random(f"paper {seed} {drawing.path}").choice(domain.papers)


def ink_of(domain: Domain, drawing: Drawing, paper: RGB, seed: int) -> RGB | None:
    """One of the inks that can be told from this paper; None where drawings have colours of their own."""
    inks = [ink for ink in domain.inks if contrast(ink, paper) >= LEAST_CONTRAST]
    return random.Random(f"ink {seed} {paper} {drawing.path}").choice(inks) if inks else None


def tint(image: Image.Image, ink: RGB) -> Image.Image:
    """The drawing in one colour, as transparent as it was."""
    tinted = Image.new("RGBA", image.size, (*ink, 255))
    tinted.putalpha(image.getchannel("A"))
    return tinted


def contrast(one: RGB, other: RGB) -> float:
    """WCAG 2's contrast ratio, from 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: RGB) -> float:
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
