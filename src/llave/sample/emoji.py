"""Emoji, by three artists. Concepts: one per thing, however many skin tones, genders and directions it is drawn in.

Variants are merged by a union-find over three kinds of evidence: the same code points once skin tone,
gender and direction are taken away; the same name once "man", "woman" and "person" are taken away; and
the same drawing (France and Clipperton Island have one flag). What is merged is kept as *one* emoji of
the set, so that no variant of an unseen concept can turn up in training.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llave.sample import packages
from llave.sample.domain import Artist, Concept, Domain, Drawings
from llave.sample.fetch import read_files
from llave.sample.merge import merge
from llave.sample.pictures import Thumbnails, copies, read_drawings, same_drawings, thumbnails

__all__ = ["EMOJI", "canonical", "load_emoji"]

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
ARTISTS = (
    Artist("noto", "Noto", "emoji-datasource-google", "package/img/google/64", 64),
    Artist("fluent", "Fluent 3D", "@lobehub/fluent-emoji-3d", "package/assets", 128),
    Artist("twemoji", "Twemoji", "emoji-datasource-twitter", "package/img/twitter/64", 64),
)


def load_emoji(tarballs: Mapping[str, Path]) -> tuple[list[Concept], Drawings]:
    """Concepts in Unicode's order, and the drawing of each by artist, from the verified packages.

    Raises:
        DataError: a package lacks a file that its pinned version has.
    """
    entries, groups = _read_names(tarballs["emojibase-data"])
    codes = {canonical(entry["hexcode"]) for entry in entries}
    drawings = {
        artist.key: read_drawings(tarballs[artist.package], artist.folder, canonical, codes) for artist in ARTISTS
    }
    small = {key: thumbnails(drawn) for key, drawn in drawings.items()}
    for copy in copies(small["noto"], small["fluent"]):
        # The Fluent package fills its gaps, such as flags, with Noto's drawings.
        del drawings["fluent"][copy], small["fluent"][copy]
    entries = [e for e in entries if any(canonical(e["hexcode"]) in drawn for drawn in drawings.values())]
    merged = merge(len(entries), _alike(entries, small.values()))
    return [_concept([entries[index] for index in group], groups, drawings) for group in merged], drawings


def _read_names(tarball: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    entries, groups = map(json.loads, read_files(tarball, "package/en/data.json", "package/meta/groups.json"))
    component = next(number for number, name in groups["groups"].items() if name == "component")
    kept = [entry for entry in entries if "group" in entry and str(entry["group"]) != component]
    return sorted(kept, key=lambda entry: int(entry["order"])), groups


def _alike(entries: Sequence[dict[str, Any]], drawn: Iterable[Thumbnails]) -> Iterator[tuple[int, int]]:
    first: dict[str, int] = {}
    for index, entry in enumerate(entries):
        for key in (f"code {shape_key(entry['hexcode'])}", f"name {name_key(entry['label'], _is_person(entry))}"):
            yield index, first.setdefault(key, index)
    position = {canonical(entry["hexcode"]): index for index, entry in enumerate(entries)}
    for small in drawn:
        for one, other in same_drawings(small):
            if one in position and other in position:
                yield position[one], position[other]


def _is_person(entry: dict[str, Any]) -> bool:
    return int(entry["group"]) <= 1  # smileys & emotion, people & body


def canonical(hexcode: str) -> str:
    """Lower case, without variation selectors and leading zeros: ``"002A-FE0F-20E3"`` → ``"2a-20e3"``."""
    codes = (code.lstrip("0") for code in hexcode.lower().split("-"))
    return "-".join(code for code in codes if code != "fe0f")


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
        key=canonical(chosen["hexcode"]),
        label=label,
        tags=tuple(tags[:MAX_TAGS]),
        group=groups["groups"][str(chosen["group"])].replace("-", " & "),
        subgroup=groups["subgroups"][str(chosen["subgroup"])].replace("-", " "),
        drawn_by=artists(chosen),
        members=tuple(canonical(entry["hexcode"]) for entry in members),
    )


EMOJI = Domain(
    key="emoji",
    packages=packages.EMOJI,
    artists=ARTISTS,
    trained=("noto", "fluent"),
    num_unseen=320,
    held_out=0.25,
    load=load_emoji,
    changes="Pictures were resized and composed into scenes.",
)
