"""Duplicates among items: the same bytes, the same pixels, near in looks, the same words, or close as vectors.

Equal items are found by what they are (:mod:`llave.sorting.exact`), near ones by comparison, and a group is a *star*:
its best copy, and what is a duplicate of that very copy. Likeness is not handed on: where A is near B and B near C, C
is in the group of A only if it is near A. So no group drifts away from its first picture, and none says more than its
pairs do. Items are taken best first, so that the best copy of a group is its centre.

Memory is a multiple of the number of items, never of its square: candidates of looks come from a k-d tree, and cosines
are computed in blocks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llave.errors import UserError
from llave.progress import Work
from llave.sorting.exact import Facts, exact_classes, facts_of, pixels_of
from llave.sorting.looks import NEAR, Looks, NearLooks
from llave.sorting.things import Things
from llave.sorting.threshold import Chosen, Judged, choose_threshold

__all__ = [
    "Copy",
    "Duplicates",
    "Evidence",
    "Group",
    "NearVectors",
    "choose_limits",
    "find_duplicates",
    "stars",
]

Evidence = Literal["bytes", "pixels", "text", "near", "vector"]
"""Why two items are duplicates, the strongest first."""
STRENGTH: tuple[Evidence, ...] = ("bytes", "pixels", "text", "near", "vector")
BLOCK, COLUMNS = 64, 65_536
PICTURES = ("image", "page")
CHUNK = 1024
Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """An item of a group, and why it is there: in comparison with the group's best copy.

    Args:
        evidence: the strongest; None of the best copy itself.
        difference: of a cell of the looks, at most 255; None where one has no look.
        hash_distance: bits of 64 in which the perceptual hashes differ.
        cosine: of the vectors, where there are any.
        width, height: in pixels; 0 where they are not known.
        bytes: of the file; 0 where it is not there.
    """

    id: str
    name: str
    evidence: Evidence | None = None
    difference: int | None = None
    hash_distance: int | None = None
    cosine: float | None = None
    width: int = 0
    height: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Duplicates of one item, which is the first.

    Args:
        number: from 1 on, the largest group first.
    """

    number: int
    copies: Sequence[Copy]

    @property
    def best(self) -> Copy:
        """Of most pixels, then of most bytes, then the oldest, then the first by name."""
        return self.copies[0]

    @property
    def weakest(self) -> Copy:
        """The copy that is least certain."""
        return max(
            self.copies[1:],
            key=lambda copy: (STRENGTH.index(copy.evidence or "bytes"), copy.difference or 0, -(copy.cosine or 1)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """What was found.

    Args:
        items: that were compared.
        near: limit of the difference of looks; ``cosine`` of the vectors, None where they did not decide.
        unseen: why a picture has no look, by name; it was compared by its bytes alone.
        errors: by name, items that could not be read.
        notes: lines for a person.
    """

    groups: Sequence[Group]
    items: int
    near: float
    cosine: float | None
    unseen: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def numbers(self) -> dict[str, int]:
        """The number of its group, by id."""
        return {copy.id: group.number for group in self.groups for copy in group.copies}

    def spare(self) -> list[Copy]:
        """What could go: all but the best copy of each group."""
        return [copy for group in self.groups for copy in group.copies[1:]]


def find_duplicates(things: Things, work: Work, *, near: float = NEAR, cosine: float | None = None) -> Duplicates:
    """Groups of duplicates.

    Args:
        near: that a cell of two pictures' looks may differ, of 255; below 0 nothing is near.
        cosine: from which on vectors make duplicates, too; None compares none.
    """
    work.stage("sizes", len(things))
    facts = facts_of(things, work)
    places = list(range(len(things)))
    order = sorted(places, key=lambda place: facts[place].rank(things.all[place].name))
    work.stage("contents")
    classes = exact_classes(things, facts, order)
    looks = _looks_of(things, list(classes), work)
    leader = {place: first for first, members in classes.items() for place in members}
    flat = [place for place in classes if looks.flat[place]]
    _join_equal(classes, {place: pixels_of(things.all[place].item) for place in flat})
    ways: list[Callable[[Sequence[int]], list[Places]]] = [NearLooks(looks, near)]
    if cosine is not None and things.vector_ND is not None:
        ways.append(NearVectors(things.vector_ND, np.array([each for each in classes if not looks.flat[each]]), cosine))
    work.stage("compare", len(classes))
    found = []
    for centre, members in stars(list(classes), ways, work.advance).items():
        copies = [_copy(things, facts, looks, centre, centre, None)]
        for member in (centre, *members):
            why = None if member == centre else _evidence(things, facts, looks, centre, member, near)
            for equal in classes[member]:
                if equal != centre:
                    evidence = why or _equal(things, equal, same=leader[equal] == leader[centre])
                    copies.append(_copy(things, facts, looks, centre, equal, evidence, of=member))
        if len(copies) > 1:
            found.append(copies)
    found.sort(key=lambda copies: -len(copies))
    pictures = (place for place in classes if things.all[place].kind in PICTURES)
    dark = [things.all[place].name for place in pictures if not looks.there[place]]
    return Duplicates(
        groups=[Group(number=number, copies=copies) for number, copies in enumerate(found, start=1)],
        items=len(things),
        near=near,
        cosine=cosine,
        unseen={name: things.unseen.get(name, "the index keeps no picture of it") for name in dark},
        errors=things.errors,
        notes=things.notes,
    )


def choose_limits(
    things: Things, judged: Sequence[Judged], work: Work, *, precision: float
) -> tuple[Chosen, Chosen | None, int]:
    """Limits of the difference of looks (the negative of the threshold), of the cosine, where there are vectors, and
    how many pairs name an item that is not there.

    Raises:
        UserError: no pair whose items are there.
    """
    places = things.places()
    pairs = [(places[each.a], places[each.b], each.same) for each in judged if each.a in places and each.b in places]
    if not pairs:
        names = f"{judged[0].a!r:.80} and {judged[0].b!r:.80}"
        raise UserError(
            f"of no judged pair both items are there, such as {names}; write paths or ids as they are shown"
        )
    same = [each for _, _, each in pairs]
    looks = _looks_of(things, sorted({place for pair in pairs for place in pair[:2]}), work)
    scores = []
    for one, other, _ in pairs:
        there = np.array([other])
        scores.append(-float(looks.difference(one, there)[0]) if looks.alike(one, there)[0] else -np.inf)
    near = choose_threshold(scores, same, precision=precision)
    vectors = things.vector_ND
    if vectors is None:
        return near, None, len(judged) - len(pairs)
    cosines = [float(vectors[one] @ vectors[other]) for one, other, _ in pairs]
    return near, choose_threshold(cosines, same, precision=precision), len(judged) - len(pairs)


def _looks_of(things: Things, places: Sequence[int], work: Work) -> Looks:
    """Looks by place, of the pictures among these items."""
    seen = [place for place in places if things.all[place].kind in PICTURES]
    work.stage("look", len(seen))
    looks = Looks(len(things))
    for start in range(0, len(seen), CHUNK):
        some = seen[start : start + CHUNK]
        for place, encoded in zip(some, things.pictures(some), strict=True):
            if encoded:
                looks.add(place, encoded)
        work.advance(len(some))
    return looks


class NearVectors:
    """Which items are close to one.

    Args:
        vector_ND: unit vectors of all.
        places: of those that are compared; nothing is close to others, such as pictures of one colour.
        least: cosine.
    """

    def __init__(self, vector_ND: NDArray[np.float32], places: Places, least: float) -> None:
        self._vector_ND, self._places, self._least = vector_ND, places, least
        self._compared = set(places.tolist())

    def __call__(self, places: Sequence[int]) -> list[Places]:
        """Places of the items that are close, for each."""
        own_BD = self._vector_ND[list(places)]
        found: list[list[Places]] = [[] for _ in places]
        for start in range(0, len(self._places), COLUMNS):
            some = self._places[start : start + COLUMNS]
            close_BM = own_BD @ self._vector_ND[some].T >= self._least
            for row, place in enumerate(places):
                if place in self._compared:
                    found[row].append(some[close_BM[row]])
        return [np.concatenate(each) if each else np.zeros(0, np.intp) for each in found]


def stars(
    order: Sequence[int],
    ways: Sequence[Callable[[Sequence[int]], list[Places]]],
    advance: Callable[[int], object] = lambda items: None,
) -> dict[int, list[int]]:
    """Every item that is in no star yet, in order, with those near to it that are in none either."""
    free = set(order)
    found: dict[int, list[int]] = {}
    for start in range(0, len(order), BLOCK):
        block = [place for place in order[start : start + BLOCK] if place in free]
        neighbours = [way(block) for way in ways] if block else []
        for row, centre in enumerate(block):
            if centre in free:
                near = {int(place) for way in neighbours for place in way[row]} & free - {centre}
                free -= near | {centre}
                found[centre] = sorted(near)
        advance(len(order[start : start + BLOCK]))
    return found


def _join_equal(classes: dict[int, list[int]], digests: Mapping[int, bytes | None]) -> None:
    """Items of equal pixels are one class."""
    first: dict[bytes, int] = {}
    for place, digest in digests.items():
        if digest is not None and first.setdefault(digest, place) != place:
            classes[first[digest]] += classes.pop(place)


def _evidence(things: Things, facts: Sequence[Facts], looks: Looks, centre: int, member: int, near: float) -> Evidence:
    there = np.array([member])
    if looks.alike(centre, there)[0] and looks.difference(centre, there)[0] <= near:
        sized = facts[centre].size == facts[member].size != (0, 0)
        one, other = (pixels_of(things.all[each].item) if sized else None for each in (centre, member))
        return "pixels" if one is not None and one == other else "near"
    return "vector"


def _equal(things: Things, place: int, *, same: bool) -> Evidence:
    """Why an item of the best copy's class is in it."""
    return "text" if things.all[place].kind == "text" else "bytes" if same else "pixels"


def _copy(
    things: Things,
    facts: Sequence[Facts],
    looks: Looks,
    centre: int,
    place: int,
    evidence: Evidence | None,
    of: int | None = None,
) -> Copy:
    """Args: of: the item of equal content that was looked at in its place."""
    of = place if of is None else of
    seen = evidence is not None and bool(looks.there[centre] and looks.there[of])
    vectors = things.vector_ND
    thing, fact = things.all[place], facts[place]
    return Copy(
        id=thing.id,
        name=thing.name,
        evidence=evidence,
        difference=int(looks.difference(centre, np.array([of]))[0]) if seen else None,
        hash_distance=looks.hash_distance(centre, of) if seen else None,
        cosine=None if evidence is None or vectors is None else round(float(vectors[centre] @ vectors[place]), 4),
        width=fact.size[1],
        height=fact.size[0],
        bytes=fact.bytes,
    )
