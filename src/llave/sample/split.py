"""Which concepts and drawings training may see.

Three kinds of drawing (a concept by an artist):

- *train*: a seen concept by an artist of training; the only ones in training rows and scenes;
- *held out*: a seen concept by an artist of training, kept from training while the concept's other drawing is
  in it: the in-distribution queries;
- *unseen*: any drawing of an unseen concept: the out-of-distribution queries, by Twemoji too.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from llave.errors import DataError
from llave.sample.concepts import Concept
from llave.sample.pictures import ARTISTS, TRAINED_ARTISTS

__all__ = ["Drawing", "SampleSplit", "split_concepts"]

NUM_UNSEEN = 320
HELD_OUT_SHARE = 0.25  # of the seen concepts that both training artists drew


@dataclass(frozen=True, slots=True)
class Drawing:
    """A concept by an artist."""

    concept: Concept
    artist: str

    @property
    def path(self) -> str:
        """Relative to images/."""
        return f"{self.artist}/{self.concept.hexcode}.png"


@dataclass(frozen=True, slots=True)
class SampleSplit:
    """Drawings by the role they may play, each in Unicode's order."""

    train: tuple[Drawing, ...]
    held_out: tuple[Drawing, ...]
    unseen: tuple[Drawing, ...]


def split_concepts(concepts: Sequence[Concept], rng: random.Random, *, num_unseen: int = NUM_UNSEEN) -> SampleSplit:
    """Draw the unseen concepts among those of all artists, and the held-out drawings of the seen ones.

    Raises:
        DataError: not enough concepts.
    """
    everywhere = [concept for concept in concepts if len(concept.drawn_by) == len(ARTISTS)]
    if len(everywhere) < 2 * num_unseen:
        raise DataError(f"{len(everywhere)} concepts by all artists are too few for {num_unseen} unseen ones")
    unseen_codes = {concept.hexcode for concept in rng.sample(everywhere, num_unseen)}
    train, held_out, unseen = [], [], []
    for concept in concepts:
        if concept.hexcode in unseen_codes:
            unseen += [Drawing(concept, artist.key) for artist in ARTISTS]
            continue
        drawings = [Drawing(concept, artist) for artist in TRAINED_ARTISTS if artist in concept.drawn_by]
        if len(drawings) == len(TRAINED_ARTISTS) and rng.random() < HELD_OUT_SHARE:
            held_out.append(drawings.pop(rng.randrange(len(drawings))))
        train += drawings
    return SampleSplit(tuple(train), tuple(held_out), tuple(unseen))
