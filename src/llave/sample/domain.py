"""What a domain of the sample is: things with names, drawn by several artists. Rows, scenes and splits know no more."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llave.sample.fetch import Package

__all__ = ["RGB", "Artist", "Concept", "Domain", "Drawing", "Drawings"]

RGB = tuple[int, int, int]
Drawings = dict[str, dict[str, bytes]]
"""Encoded picture with transparency, by key of artist and concept."""


@dataclass(frozen=True, slots=True)
class Concept:
    """One thing that is drawn."""

    key: str
    """Names its files; of an emoji its canonical code points, ``1f3f4-200d-2620``."""
    label: str
    tags: tuple[str, ...]
    group: str
    subgroup: str
    drawn_by: tuple[str, ...]
    """Keys of the artists that drew it."""
    members: tuple[str, ...]
    """Keys of all variants that were merged into it, its own among them."""

    @property
    def caption(self) -> str:
        """``"crab (animal, cancer, zodiac)"``: the label and its tags."""
        return f"{self.label} ({', '.join(self.tags)})" if self.tags else self.label


@dataclass(frozen=True, slots=True)
class Artist:
    """A set of drawings: where it lies in its package, and the size in pixels at which it is saved."""

    key: str
    title: str
    package: str
    folder: str
    size: int


@dataclass(frozen=True, slots=True)
class Drawing:
    """A concept by an artist."""

    concept: Concept
    artist: str

    @property
    def path(self) -> str:
        """Relative to images/."""
        return f"{self.artist}/{self.concept.key}.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Where things, names and drawings come from.

    Args:
        key: its name on the command line.
        packages: all that are fetched.
        artists: of all drawings.
        trained: keys of the artists that training sees; the others are out of distribution.
        num_unseen: concepts that training does not see.
        held_out: share of the seen concepts by all trained artists of which one drawing is kept from training.
        load: concepts in a fixed order and their drawings, from the tarballs by package.
        changes: what was done to the pictures, for the list of licences.
        papers: colours that a drawing may be saved on.
        inks: colours that a drawing may have; none keeps its own.
    """

    key: str
    packages: tuple[Package, ...]
    artists: tuple[Artist, ...]
    trained: tuple[str, ...]
    num_unseen: int
    held_out: float
    load: Callable[[Mapping[str, Path]], tuple[list[Concept], Drawings]]
    changes: str
    papers: tuple[RGB, ...] = ((255, 255, 255),)
    inks: tuple[RGB, ...] = ()
