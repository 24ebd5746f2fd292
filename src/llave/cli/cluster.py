"""``llave cluster photos.index``: groups among the items of an index, with names."""

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llave.cli.parsing import parse
from llave.cli.sorting import card, find_input, give_field, open_things
from llave.collection.collection import Columns
from llave.errors import UserError
from llave.storage.location import Location

if TYPE_CHECKING:
    from llave.sorting.clusters import Clusters
    from llave.sorting.things import Things

__all__ = ["ClusterConfig", "run"]

SHOWN = 12
"""Items of a group on the page."""


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Groups.

    Args:
        input: an index; null is the one that `llave search` takes.
        index: the same.
        k: how many groups; null is the square root of half the number of items.
        way: kmeans, which takes every item, or hdbscan, which finds how many groups there are and leaves out what lies
            nowhere densely.
        smallest: items of a group of hdbscan's at least; null is 5.
        names: a .txt file of words to choose names from, one a line, or a field whose values are names; null is the
            texts among the items, else the field that goes with the groups best.
        filter: only these items, e.g. "year >= 2020".
        field: write every item's group into this field of the index.
        html: write a page with pictures of every group to this file.
        json: print JSON.
        seed: of the groups.
        model: where the index's model is now, if it has moved; only for names from a file.
        device: e.g. cpu or cuda; null is the best there is.
    """

    input: Path | None = None
    index: Location | None = None
    k: int | None = None
    way: Literal["kmeans", "hdbscan"] = "kmeans"
    smallest: int | None = None
    names: str | None = None
    filter: str = ""
    field: str | None = None
    html: Path | None = None
    json: bool = False
    seed: int = 0
    model: str | None = None
    device: str | None = None


def run(argv: list[str]) -> int:
    """Print the groups."""
    config = parse(
        ClusterConfig,
        argv,
        command="cluster",
        description="Find groups among the items of an index, and name them. Examples: llave cluster photos.index "
        "--html groups.html; llave cluster photos.index --k 20 --names words.txt --field cluster.",
        positional=("input",),
    )
    if config.seed < 0 or not (config.smallest is None or config.smallest > 1):
        raise UserError(f"seed {config.seed}, smallest {config.smallest}: at least 0 and 2")
    path, index = find_input(config.input, config.index, config.field)
    if index is None:
        raise UserError(f"{path}: no index; make one first: llave index MODEL {path} --index photos.index")
    from llave.progress import show_progress
    from llave.search.sorting import cluster_things
    from llave.terminal import quiet_libraries

    quiet_libraries()
    words: list[str] = []
    by_field = config.names
    if config.names is not None and config.names.lower().endswith(".txt"):
        words, by_field = _words(Path(config.names)), None
        index.use_model(config.model, device=config.device)
    with show_progress() as work:
        things = open_things(path, index, work, filter=config.filter, columns=Columns())
        work.stage("cluster")
        found = cluster_things(
            index,
            things,
            k=config.k,
            way=config.way,
            smallest=config.smallest,
            names=words,
            by_field=by_field,
            seed=config.seed,
        )
    give_field(index, config.field, found.values())
    if config.html is not None:
        _write_html(config.html, path, things, found)
    if config.json:
        sys.stdout.write(json.dumps(dataclasses.asdict(found), indent=2, ensure_ascii=False) + "\n")
    else:
        _print(path, things, found)
    return 0


def _words(path: Path) -> list[str]:
    from llave.data.encodings import decode_text

    if not path.is_file():
        raise UserError(f"{path}: no such file of names")
    words = [line.strip() for line in decode_text(path.read_bytes(), str(path)).splitlines() if line.strip()]
    if not words:
        raise UserError(f"{path}: no words, one a line")
    return list(dict.fromkeys(words))


def _summary(found: "Clusters", items: int) -> str:
    none = f"; {len(found.none):,} are in none" if found.none else ""
    return f"{len(found.clusters):,} groups among {items:,} items ({found.way}){none}"


def _print(path: Location, things: "Things", found: "Clusters") -> None:
    from llave.terminal import printable

    lines = [f"{path}: {_summary(found, len(things))}"]
    for each in found.clusters:
        about = f"  ({printable(each.why)})" if each.why else ""
        lines.append(f"{each.number:>4}  {len(each.ids):>6,}  {printable(each.name)}{about}")
    sys.stdout.write("\n".join(lines) + "\n")


def _write_html(file: Path, path: Location, things: "Things", found: "Clusters") -> None:
    from llave.report.sheet import Section, write_sheet

    places = {thing.id: place for place, thing in enumerate(things.all)}
    sections = []
    for each in found.clusters:
        shown = [places[identity] for identity in each.ids[:SHOWN]]
        cards = [card(things, place, picture) for place, picture in zip(shown, things.pictures(shown), strict=True)]
        nearest = f", the {SHOWN} nearest to its centre" if len(each.ids) > SHOWN else ""
        why = f"; {each.why}" if each.why else ""
        title = f"{each.number}: {each.name}" if each.name else f"Group {each.number}"
        sections.append(Section(title=title, about=f"{len(each.ids):,} items{nearest}{why}", cards=cards))
    settings = {"items": f"{len(things):,} of {path}", "way": found.way, "seed": found.seed}
    write_sheet(file, "Groups", [f"{_summary(found, len(things))}."], sections, settings)
