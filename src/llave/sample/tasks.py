"""The picture tasks of the sample: classification and retrieval. Scenes have a file of their own.

Instructions are baked into the texts, as in MMEB, and short: on a CPU every token costs.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

from llave.data.mmeb import RowItem
from llave.sample.domain import Concept, Domain, Drawing
from llave.sample.rows import Row, eval_row, pick, picture, train_row, with_picture

__all__ = ["PictureTasks"]

CANDIDATES = 200
"""Candidates of an in-distribution retrieval query, where there are as many."""


class PictureTasks:
    """Rows of classification and retrieval from drawings.

    Args:
        concepts: all concepts, for the label sets.
        domain: theirs.
        rng: source of every choice.
    """

    def __init__(self, concepts: Sequence[Concept], domain: Domain, rng: random.Random) -> None:
        self.groups = sorted({concept.group for concept in concepts})
        self.subgroups = sorted({concept.subgroup for concept in concepts})
        self.subgroups_of = {group: sorted({c.subgroup for c in concepts if c.group == group}) for group in self.groups}
        self.domain = domain
        self.titles = {artist.key: artist.title for artist in domain.artists}
        self.rng = rng

    def train(self, drawings: Sequence[Drawing]) -> dict[str, list[Row]]:
        """Training rows by task, each with a hard negative where the data has one."""
        near = _by(drawings, lambda d: (d.artist, d.concept.subgroup))
        of_concept = _by(drawings, lambda d: d.concept.key)
        tasks: dict[str, list[Row]] = {name: [] for name in ("group", "subgroup", "t2i", "i2t", "i2i", "composed")}
        for drawing in drawings:
            concept, rng = drawing.concept, self.rng
            others = [d for d in near[drawing.artist, concept.subgroup] if d.concept is not concept]
            neighbour = rng.choice(others) if others else None
            negative = picture(neighbour.path) if neighbour else None
            siblings = [name for name in self.subgroups_of[concept.group] if name != concept.subgroup]
            tasks["group"].append(
                train_row(
                    group_query(drawing),
                    RowItem(concept.group),
                    RowItem(rng.choice([name for name in self.groups if name != concept.group])),
                )
            )
            tasks["subgroup"].append(
                train_row(
                    subgroup_query(drawing),
                    RowItem(concept.subgroup),
                    RowItem(rng.choice(siblings)) if siblings else None,
                )
            )
            for text in dict.fromkeys([concept.caption, concept.label]):
                tasks["t2i"].append(train_row(text_query(text), picture(drawing.path), negative))
            tasks["i2t"].append(
                train_row(
                    caption_query(drawing),
                    RowItem(concept.caption),
                    RowItem(neighbour.concept.caption) if neighbour else None,
                )
            )
            for other in of_concept[concept.key]:
                if other.artist == drawing.artist:
                    continue
                wrong = [d for d in near[other.artist, concept.subgroup] if d.concept is not concept]
                hard = picture(rng.choice(wrong).path) if wrong else None
                tasks["i2i"].append(train_row(same_query(drawing), picture(other.path), hard))
                # The right thing by the wrong artist is the composed query's own hard negative.
                redraw = redraw_query(drawing, self.titles[other.artist])
                tasks["composed"].append(train_row(redraw, picture(other.path), picture(drawing.path)))
        return tasks

    def evaluate(
        self, queries: Sequence[Drawing], pool: Sequence[Drawing], *, unseen: bool, limit: int
    ) -> dict[str, list[Row]]:
        """Evaluation rows by task.

        Args:
            queries: held-out drawings, or all drawings of the unseen concepts.
            pool: drawings that may be candidates: the queries' concepts by every artist.
            unseen: out of distribution; text-image queries then face all concepts of their artist.
            limit: queries per task.
        """
        rng = self.rng
        by_artist = _by(pool, lambda d: d.artist)
        of_concept = _by(pool, lambda d: d.concept.key)
        chosen = {name: pick(queries, limit, rng) for name in ("group", "subgroup")}
        plain = [drawing for drawing in queries if drawing.artist in self.domain.trained]
        crossing = [
            (drawing, other)
            for drawing in queries
            for other in of_concept[drawing.concept.key]
            if other.artist != drawing.artist
        ]
        size = len(pool) if unseen else CANDIDATES
        tasks: dict[str, list[Row]] = {
            "group": [
                eval_row(group_query(d), RowItem(d.concept.group), map(RowItem, self.groups)) for d in chosen["group"]
            ],
            "subgroup": [
                eval_row(subgroup_query(d), RowItem(d.concept.subgroup), map(RowItem, self.subgroups))
                for d in chosen["subgroup"]
            ],
        }
        tasks["t2i"] = [
            eval_row(
                text_query(d.concept.caption),
                picture(d.path),
                [picture(o.path) for o in pick(by_artist[d.artist], size, rng)],
            )
            for d in pick(plain, limit, rng)
        ]
        tasks["i2t"] = [
            eval_row(
                caption_query(d),
                RowItem(d.concept.caption),
                [RowItem(o.concept.caption) for o in pick(by_artist[d.artist], size, rng)],
            )
            for d in pick(plain, limit, rng)
        ]
        tasks["i2i"] = [
            eval_row(
                same_query(d),
                picture(other.path),
                [picture(o.path) for o in pick(by_artist[other.artist], CANDIDATES, rng)],
            )
            for d, other in pick(crossing, limit // 2, rng)
        ]
        tasks["composed"] = [
            eval_row(
                redraw_query(d, self.titles[other.artist]),
                picture(other.path),
                [
                    *(picture(o.path) for o in of_concept[d.concept.key]),
                    *(picture(o.path) for o in pick(by_artist[other.artist], CANDIDATES, rng)),
                ],
            )
            for d, other in pick(crossing, limit // 2, rng)
        ]
        return tasks


def group_query(drawing: Drawing) -> RowItem:
    """Which of about ten groups."""
    return with_picture(drawing.path, "Which group?")


def subgroup_query(drawing: Drawing) -> RowItem:
    """Which subgroup, of all groups' subgroups."""
    return with_picture(drawing.path, "Which subgroup?")


def text_query(text: str) -> RowItem:
    """A name, or a name and tags, to a picture."""
    return RowItem(f"Find: {text}")


def caption_query(drawing: Drawing) -> RowItem:
    """A picture to its name and tags."""
    return with_picture(drawing.path, "What is it?")


def same_query(drawing: Drawing) -> RowItem:
    """A picture to the same thing by another artist."""
    return with_picture(drawing.path, "Same by another artist")


def redraw_query(drawing: Drawing, artist: str) -> RowItem:
    """A picture and a named artist."""
    return with_picture(drawing.path, f"Drawn by {artist}")


def _by(drawings: Sequence[Drawing], key: Callable[[Drawing], Any]) -> dict[Any, list[Drawing]]:
    grouped: dict[Any, list[Drawing]] = {}
    for drawing in drawings:
        grouped.setdefault(key(drawing), []).append(drawing)
    return grouped
