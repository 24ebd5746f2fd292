"""Icons, by four artists: two that training sees, one who draws strokes and one who draws solids, and two more.

Names, tags and categories are Tabler's, so that a concept has one text. Another artist's icon is the same thing if its
name has the same words, in any order, or, where the package lists aliases, one of them has. A few names mean two things
(a bolt is a flash or a screw), and then the artists differ.

Concepts: an icon with a decoration (``calendar-plus``, ``calendar-off``) is its undecorated one; what is a decoration,
the names say: a last word that many icons have beside one without it. Also one are names of the same words, singular or
plural (``arrow-left-square``, ``square-arrow-left``; ``tree``, ``trees``) and drawings that are alike in any package.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llave.sample import packages
from llave.sample.domain import Artist, Concept, Domain, Drawings
from llave.sample.fetch import read_files
from llave.sample.merge import merge
from llave.sample.pictures import Thumbnails, copies, read_drawings, same_drawings, thumbnails
from llave.sample.vector import rasterise

__all__ = ["ICONS", "decorations", "load_icons", "singular", "undecorated"]

SIZE = 96  # pixels
ARTISTS = (
    Artist("tabler", "Tabler", "@tabler/icons", "package/icons/outline", SIZE),
    Artist("mdi", "Material Design", "@mdi/svg", "package/svg", SIZE),
    Artist("phosphor", "Phosphor", "@phosphor-icons/core", "package/assets/duotone", SIZE),
    Artist("lucide", "Lucide", "lucide-static", "package/icons", SIZE),
)
MAX_TAGS = 5
DECORATES = 30
"""A last word is a decoration if at least so many icons have a name with it and a name without."""
KINDS = ("building", "currency", "device", "zodiac")
"""Tabler's first words that the others do without: ``building-bridge``."""
GROUPS = {
    "arrows & shapes": ("Arrows", "Badges", "Shapes", "Symbols"),
    "devices & data": ("Computers", "Database", "Devices", "Development", "Electrical", "Version control"),
    "food & shopping": ("Currencies", "E-commerce", "Food", "Laundry"),
    "interface": ("Extensions", "Gestures", "System"),
    "nature & weather": ("Animals", "Nature", "Weather", "Zodiac"),
    "people & health": ("Gender", "Health", "Mood"),
    "play & media": ("Communication", "Games", "Media", "Photography", "Sport"),
    "places & travel": ("Buildings", "Map", "Vehicles"),
    "text & numbers": ("Charts", "Design", "Document", "Logic", "Math", "Text"),
}
"""Tabler's categories, which are the subgroups, in groups of ours. Those left out: logos, which are others' trademarks
and whose names say nothing of their looks, and letters and numbers."""
GROUP_OF = {category: group for group, categories in GROUPS.items() for category in categories}


def load_icons(tarballs: Mapping[str, Path]) -> tuple[list[Concept], Drawings]:
    """Concepts in Tabler's order, and the drawing of each by artist, from the verified packages.

    Raises:
        DataError: a package lacks a file that its pinned version has.
        UserError: the library that draws SVG is not installed.
    """
    (content,) = read_files(tarballs["@tabler/icons"], "package/icons.json")
    entries: dict[str, dict[str, Any]] = json.loads(content)
    decorating = decorations(entries)
    families: dict[str, list[str]] = {}
    for name, entry in entries.items():
        if entry["category"] in GROUP_OF:
            families.setdefault(undecorated(name, entries, decorating), []).append(name)
    families = {base: names for base, names in families.items() if entries[base]["category"] in GROUP_OF}
    drawings = {artist.key: _draw(artist, tarballs[artist.package], families, set(entries)) for artist in ARTISTS}
    small = {key: thumbnails(drawn) for key, drawn in drawings.items()}
    for artist in ARTISTS[1:]:
        for copy in copies(small["tabler"], small[artist.key]):
            del (
                drawings[artist.key][copy],
                small[artist.key][copy],
            )  # a chevron is a chevron: who drew it cannot be told
    bases = [base for base in families if base in drawings["tabler"]]
    merged = merge(len(bases), _alike(bases, small.values()))
    concepts = [_concept([bases[index] for index in group], families, entries, drawings) for group in merged]
    return concepts, drawings


def decorations(names: Iterable[str]) -> set[str]:
    """The last words of names that are decorations."""
    known = set(names)
    stems = (name.rpartition("-") for name in known)
    counts = Counter(word for stem, _, word in stems if stem in known)
    return {word for word, count in counts.items() if count >= DECORATES}


def undecorated(name: str, known: Iterable[str], decorating: Iterable[str]) -> str:
    """``"calendar-plus"`` → ``"calendar"``, if there is one."""
    stem, _, word = name.rpartition("-")
    return undecorated(stem, known, decorating) if word in decorating and stem in known else name


def singular(name: str) -> str:
    """``"moon-stars"`` → ``"moon-star"``, as far as an s goes."""
    return re.sub(r"(\w\w[^\Ws])s\b", r"\1", name)


def _words(name: str) -> str:
    return " ".join(sorted(name.split("-")))


def _draw(artist: Artist, tarball: Path, names: Iterable[str], known: set[str]) -> dict[str, bytes]:
    """The artist's icons of these names, as PNG."""
    style = "-duotone" if artist.key == "phosphor" else ""
    files = read_drawings(tarball, artist.folder, lambda stem: stem.removesuffix(style))
    match artist.key:
        case "tabler":
            file_of = {name: name for name in names if name in files}
        case "mdi":
            (content,) = read_files(tarball, "package/meta.json")
            icons = {icon["name"]: icon for icon in json.loads(content) if icon["name"] in files}
            file_of = _same_names(names, known, {name: icon["aliases"] for name, icon in icons.items()})
            file_of = {name: file for name, file in file_of.items() if not icons[file]["deprecated"]}  # logos
        case _:
            file_of = _same_names(names, known, dict.fromkeys(files, ()))
    return {name: rasterise(files[file], artist.size, f"{tarball}: {file}.svg") for name, file in file_of.items()}


def _same_names(names: Iterable[str], known: set[str], theirs: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Their icon by our name; a name of theirs comes before an alias.

    Args:
        names: ours.
        known: all of ours, also those that are not wanted.
        theirs: aliases by name.
    """
    index: dict[str, str] = {}
    for name in sorted(theirs):
        index.setdefault(_words(name), name)
    for name in sorted(theirs):
        for alias in theirs[name]:
            index.setdefault(_words(alias), name)
    known_keys = {_words(name) for name in known}
    found = {}
    for name in names:
        kind, _, short = name.partition("-")
        keys = [_words(name)]
        if kind in KINDS and _words(short) not in known_keys:
            keys.append(_words(short))
        file = next((index[key] for key in keys if key in index), None)
        if file is not None:
            found[name] = file
    return found


def _alike(names: Sequence[str], drawn: Iterable[Thumbnails]) -> Iterator[tuple[int, int]]:
    position = {name: index for index, name in enumerate(names)}
    first: dict[str, int] = {}
    for name, index in position.items():
        yield index, first.setdefault(_words(singular(name)), index)
    for small in drawn:
        pairs = same_drawings(small)
        yield from ((position[a], position[b]) for a, b in pairs if a in position and b in position)


def _concept(
    names: Sequence[str],
    families: Mapping[str, Sequence[str]],
    entries: Mapping[str, dict[str, Any]],
    drawings: Drawings,
) -> Concept:
    def artists(name: str) -> tuple[str, ...]:
        return tuple(key for key, drawn in drawings.items() if name in drawn)

    chosen = max(names, key=lambda name: len(artists(name)))  # the first among equals
    entry = entries[chosen]
    label = chosen.replace("-", " ")
    tags = dict.fromkeys(str(tag).replace("-", " ") for tag in entry["tags"])  # some are numbers
    return Concept(
        key=chosen,
        label=label,
        tags=tuple(tag for tag in tags if tag not in (label, *label.split()))[:MAX_TAGS],
        group=GROUP_OF[entry["category"]],
        subgroup=entry["category"].lower(),
        drawn_by=artists(chosen),
        members=tuple(member for name in names for member in families[name]),
    )


ICONS = Domain(
    key="icons",
    packages=packages.ICONS,
    artists=ARTISTS,
    trained=("tabler", "mdi"),
    num_unseen=180,
    held_out=0.4,
    load=load_icons,
    changes="Icons were drawn in pixels, coloured and composed into scenes.",
    papers=(
        (255, 255, 255),
        (246, 240, 226),
        (232, 234, 240),
        (214, 234, 220),
        (250, 220, 214),
        (255, 224, 130),
        (38, 42, 56),
        (24, 70, 84),
        (88, 40, 90),
    ),
    inks=(
        (20, 20, 24),
        (150, 24, 30),
        (18, 90, 50),
        (20, 60, 160),
        (96, 30, 130),
        (122, 66, 10),
        (255, 255, 255),
        (255, 214, 90),
        (140, 225, 200),
        (255, 170, 190),
    ),
)
