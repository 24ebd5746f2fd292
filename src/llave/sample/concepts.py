"""Emoji concepts: one per thing, however many skin tones, genders and directions it is drawn in.

Variants are merged by a union-find over three kinds of evidence: the same code points once skin tone,
gender and direction are taken away; the same name once "man", "woman" and "person" are taken away; and
the same drawing (France and Clipperton Island have one flag). What is merged is kept as *one* emoji of
the set, so that no variant of an unseen concept can turn up in training.
"""

import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llave.errors import DataError
from llave.sample.pictures import ARTISTS, Drawings, canonical, read_drawings, same_drawings

__all__ = ["Concept", "load_concepts"]

MAX_TAGS = 5
SKIN_TONES = {"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff"}
VARIANT_MARKS = {"200d", "2640", "2642", "27a1"}  # joiner, female, male, facing right
PERSONS = {"1f468", "1f469", "1f9d1"}
PERSON_WORDS = {"man", "woman", "person", "men", "women", "people", "and"}
ALIASES = {
    "boy": "child",
    "girl": "child",
    "older": "old",
    "prince": "with crown",
    "princess": "with crown",
    "Santa Claus": "Claus",
    "Mrs. Claus": "Claus",
    "Mx Claus": "Claus",
    "breast-feeding": "feeding baby",
}


@dataclass(frozen=True, slots=True)
class Concept:
    """One thing that emoji show."""

    hexcode: str
    """Canonical code points of the emoji that stands for the concept: ``1f980``, ``1f3f4-200d-2620``."""
    label: str
    tags: tuple[str, ...]
    group: str
    subgroup: str
    drawn_by: tuple[str, ...]
    """Keys of the artists that drew it."""
    members: tuple[str, ...]
    """Canonical code points of all emoji merged into it, its own among them."""

    @property
    def caption(self) -> str:
        """``"crab (animal, cancer, zodiac)"``: the label and at most five tags."""
        return f"{self.label} ({', '.join(self.tags)})" if self.tags else self.label


def load_concepts(tarballs: Mapping[str, Path]) -> tuple[list[Concept], Drawings]:
    """Concepts in Unicode's order, and the drawing of each by artist, from the verified packages.

    Raises:
        DataError: a package lacks a file that its pinned version has.
    """
    entries, groups = _read_names(tarballs["emojibase-data"])
    codes = {canonical(entry["hexcode"]) for entry in entries}
    drawings = {artist.key: read_drawings(tarballs[artist.package], artist, codes) for artist in ARTISTS}
    for code in same_drawings(drawings["noto"], drawings["fluent"], across=True):
        # The Fluent package fills its gaps, such as flags, with Noto's drawings.
        del drawings["fluent"][code[1]]
    entries = [e for e in entries if any(canonical(e["hexcode"]) in drawn for drawn in drawings.values())]
    return [_concept(members, groups, drawings) for members in _merge(entries, drawings)], drawings


def _read_names(tarball: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    with tarfile.open(tarball) as archive:
        loaded = []
        for name in ("package/en/data.json", "package/meta/groups.json"):
            handle = archive.extractfile(name)
            if handle is None:
                raise DataError(f"{tarball}: {name} is not a file; delete the tarball to fetch it again")
            loaded.append(json.loads(handle.read()))
    entries, groups = loaded
    component = next(number for number, name in groups["groups"].items() if name == "component")
    kept = [entry for entry in entries if "group" in entry and str(entry["group"]) != component]
    return sorted(kept, key=lambda entry: int(entry["order"])), groups


def _merge(entries: Sequence[dict[str, Any]], drawings: Drawings) -> list[list[dict[str, Any]]]:
    """Entries grouped into concepts, in order of their first member."""
    parent = list(range(len(entries)))

    def find(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    def join(one: int, other: int) -> None:
        low, high = sorted((find(one), find(other)))
        parent[high] = low

    first: dict[str, int] = {}
    for index, entry in enumerate(entries):
        for key in (f"code {shape_key(entry['hexcode'])}", f"name {name_key(entry['label'], _is_person(entry))}"):
            join(index, first.setdefault(key, index))
    position = {canonical(entry["hexcode"]): index for index, entry in enumerate(entries)}
    for drawn in drawings.values():
        for one, other in same_drawings(drawn, drawn):
            if one in position and other in position:
                join(position[one], position[other])
    merged: dict[int, list[dict[str, Any]]] = {}
    for index, entry in enumerate(entries):
        merged.setdefault(find(index), []).append(entry)
    return [merged[root] for root in sorted(merged)]


def _is_person(entry: dict[str, Any]) -> bool:
    return int(entry["group"]) <= 1  # smileys & emotion, people & body


def shape_key(hexcode: str) -> str:
    """Code points without skin tone, gender and direction: ``"1F3C3-1F3FB-200D-2642-FE0F"`` → ``"1f3c3"``."""
    codes = canonical(hexcode).split("-")
    if len(codes) > 1:
        codes = [code for code in codes if code not in SKIN_TONES | VARIANT_MARKS]
    return "-".join("1f9d1" if code in PERSONS else code for code in codes)


def name_key(label: str, person: bool) -> str:
    """The name without gender, family members and direction: ``"woman running: facing right"`` → ``"running"``."""
    if not person:
        return label
    label = re.sub(r"^(kiss|couple with heart|family): .*", r"\1", label).removesuffix(": facing right")
    words = [ALIASES.get(word, word) for word in re.findall(r"[\w'\u2019-]+", ALIASES.get(label, label))]
    return " ".join(word for word in words if word not in PERSON_WORDS) or "person"


def _concept(members: Sequence[dict[str, Any]], groups: dict[str, Any], drawings: Drawings) -> Concept:
    def artists(entry: dict[str, Any]) -> tuple[str, ...]:
        return tuple(key for key, drawn in drawings.items() if canonical(entry["hexcode"]) in drawn)

    chosen = max(members, key=lambda entry: len(artists(entry)))  # the first among equals
    label = chosen["label"]
    tags = [tag for tag in chosen.get("tags", ()) if tag.casefold() != label.casefold()]
    return Concept(
        hexcode=canonical(chosen["hexcode"]),
        label=label,
        tags=tuple(tags[:MAX_TAGS]),
        group=groups["groups"][str(chosen["group"])].replace("-", " & "),
        subgroup=groups["subgroups"][str(chosen["subgroup"])].replace("-", " "),
        drawn_by=artists(chosen),
        members=tuple(canonical(entry["hexcode"]) for entry in members),
    )
