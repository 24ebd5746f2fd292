"""Which concepts and drawings training may see.

Three kinds of drawing (a concept by an artist):

- *train*: a seen concept by an artist of training; the only ones in training rows and scenes;
- *held out*: a seen concept by an artist of training, kept from training while the concept's other drawing is
  in it: the in-distribution queries;
- *unseen*: any drawing of an unseen concept: the out-of-distribution queries, by artists that
  training does not know too.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from llave.errors import DataError
from llave.sample.domain import Concept, Domain, Drawing

__all__ = ["SampleSplit", "split_concepts"]


@dataclass(frozen=True, slots=True)
class SampleSplit:
    """Drawings by the role they may play, each in the order of the concepts."""

    train: tuple[Drawing, ...]
    held_out: tuple[Drawing, ...]
    unseen: tuple[Drawing, ...]


def split_concepts(
    concepts: Sequence[Concept], domain: Domain, rng: random.Random, *, scale: float = 1.0
) -> SampleSplit:
    """Draw the unseen concepts, among those of every trained artist and another, and the seen ones' held-out drawings.

    Args:
        scale: share of the domain's number of unseen concepts.

    Raises:
        DataError: not enough concepts.
    """
    num_unseen = round(domain.num_unseen * scale)
    everywhere = [c for c in concepts if set(domain.trained) < set(c.drawn_by)]
    if len(everywhere) < 2 * num_unseen:
        raise DataError(
            f"{len(everywhere)} concepts by {' and '.join(domain.trained)} and another artist "
            f"are too few for {num_unseen} unseen ones"
        )
    unseen_keys = {concept.key for concept in rng.sample(everywhere, num_unseen)}
    train, held_out, unseen = [], [], []
    for concept in concepts:
        if concept.key in unseen_keys:
            unseen += [Drawing(concept, artist.key) for artist in domain.artists if artist.key in concept.drawn_by]
            continue
        drawings = [Drawing(concept, artist) for artist in domain.trained if artist in concept.drawn_by]
        if len(drawings) == len(domain.trained) and rng.random() < domain.held_out:
            held_out.append(drawings.pop(rng.randrange(len(drawings))))
        train += drawings
    return SampleSplit(tuple(train), tuple(held_out), tuple(unseen))
