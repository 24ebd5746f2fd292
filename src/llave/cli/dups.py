"""``llave dups photos``: duplicates among the items of an index, a folder or a table."""

import dataclasses
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llave.cli.parsing import parse
from llave.cli.sorting import ERRORS, card, find_input, give_field, open_things, write_csv
from llave.collection.collection import Columns
from llave.errors import UserError
from llave.storage.location import Location

if TYPE_CHECKING:
    from llave.sorting.duplicates import Copy, Duplicates
    from llave.sorting.things import Things

__all__ = ["DupsConfig", "run"]

SHOWN = 20
COPIES = 6
CSV = ("group", "name", "id", "evidence", "difference", "hash_distance", "cosine", "width", "height", "bytes")
WORDS = {"bytes": "same bytes", "pixels": "same pixels", "text": "same words", "near": "near", "vector": "vectors"}


@dataclass(frozen=True, kw_only=True)
class DupsConfig:
    """Duplicates.

    Args:
        input: an index, a folder or a table; null is the index that `llave search` takes.
        index: the same, for an index.
        near: by how much, of 255, a part of a copied picture may differ; -1 finds only the same bytes.
        cosine: from which on vectors make duplicates, too, e.g. 0.98; null lets them say nothing.
        labels: a table of judged pairs with the columns a, b (paths or ids) and same (yes or no): near and, where there
            are vectors, cosine are chosen so that the wanted share of what passes is right.
        precision: that share.
        filter: only these items of the index, e.g. "year >= 2020".
        model: makes vectors of a folder's items; an index has them.
        columns: which column of a table holds what.
        field: write the number of an item's group into this field of the index.
        csv: write every copy of every group to this file.
        html: write a page with the pictures of every group to this file.
        json: print JSON.
        device: e.g. cpu or cuda; null is the best there is.
    """

    input: Path | None = None
    index: Location | None = None
    near: float = 20.0
    cosine: float | None = None
    labels: Path | None = None
    precision: float = 0.99
    filter: str = ""
    model: str | None = None
    columns: Columns = field(default_factory=Columns)
    field: str | None = None
    csv: Path | None = None
    html: Path | None = None
    json: bool = False
    device: str | None = None


def run(argv: list[str]) -> int:
    """Print the groups; nothing is ever deleted."""
    config = parse(
        DupsConfig,
        argv,
        command="dups",
        description="Find duplicates: the same bytes, the same pixels, pictures that were made smaller or compressed "
        "once more, texts of the same words, and with --cosine what is close as vectors. A folder needs no index and "
        "no model. The best copy of a group comes first; nothing is deleted. Examples: llave dups photos --html "
        "dups.html; llave dups --index photos.index --field copies.",
        positional=("input",),
    )
    if not 0 < config.precision <= 1 or not (config.cosine is None or -1 <= config.cosine <= 1):
        raise UserError(f"precision {config.precision:g}, cosine {config.cosine}: a share, and from -1 to 1")
    path, index = find_input(config.input, config.index, config.field)
    from llave.progress import show_progress
    from llave.sorting.duplicates import choose_limits, find_duplicates
    from llave.sorting.threshold import read_judged
    from llave.terminal import printable, quiet_libraries

    near, cosine, model = config.near, config.cosine, None
    judged = None if config.labels is None else read_judged(config.labels)
    if index is None and config.model is not None:
        from llave.models.open import load_model

        quiet_libraries()
        model = load_model(config.model, device=config.device)
    if index is None and model is None and cosine is not None:
        raise UserError(f"--cosine {cosine:g}: {path} is no index and has no vectors; say --model")
    with show_progress() as work:
        things = open_things(path, index, work, filter=config.filter, columns=config.columns, model=model)
        if judged is not None:
            of_looks, of_vectors, unknown = choose_limits(things, judged, work, precision=config.precision)
            near = -1.0 if of_looks.threshold is None else -of_looks.threshold
            cosine = None if of_vectors is None else of_vectors.threshold
            lines = [f"--near {near:g}: {of_looks}"]
            if of_vectors is not None:
                lines.append(f"{'no --cosine' if cosine is None else f'--cosine {cosine:.4f}'}: {of_vectors}")
            if unknown:
                lines.append(f"{unknown:,} judged pairs name an item that is not there")
            sys.stderr.writelines(f"llave: {line}\n" for line in lines)
        found = find_duplicates(things, work, near=near, cosine=cosine)
    for name, why in list(found.unseen.items())[:ERRORS]:
        sys.stderr.write(f"llave: {printable(name)} was compared by its bytes alone: {printable(why)}\n")
    if len(found.unseen) > ERRORS:
        sys.stderr.write(f"llave: {len(found.unseen):,} pictures were compared by their bytes alone\n")
    numbers = found.numbers()
    give_field(index, config.field, {thing.id: numbers.get(thing.id) for thing in things.all})
    if config.csv is not None:
        write_csv(config.csv, _rows(found), CSV)
    if config.html is not None:
        _write_html(config.html, path, things, found)
    if config.json:
        shown = {
            **dataclasses.asdict(found),
            "groups": [{**dataclasses.asdict(group), "weakest": group.weakest.id} for group in found.groups],
        }
        sys.stdout.write(json.dumps(shown, indent=2, ensure_ascii=False) + "\n")
    else:
        _print(path, found)
    return 0


def _rows(found: "Duplicates") -> list[dict[str, Any]]:
    return [{"group": group.number, **dataclasses.asdict(copy)} for group in found.groups for copy in group.copies]


def _about(copy: "Copy") -> str:
    """Why a copy is one, and how large it is."""
    parts = [] if copy.evidence is None else [WORDS[copy.evidence]]
    if copy.evidence in ("near", "vector"):
        parts += [] if copy.difference is None else [f"difference {copy.difference}", f"pHash {copy.hash_distance}"]
        parts += [] if copy.cosine is None else [f"cosine {copy.cosine:.3f}"]
    parts += [f"{copy.width}×{copy.height}"] if copy.width else []
    parts += [f"{copy.bytes:,} bytes"] if copy.bytes else []
    return ", ".join(parts)


def _in_brackets(copy: "Copy") -> str:
    about = _about(copy)
    return f"({about})" if about else ""


def _summary(found: "Duplicates") -> str:
    spare = found.spare()
    if not spare:
        return f"no duplicates among {found.items:,} items"
    size = sum(copy.bytes for copy in spare) / 1e6
    groups = f"{len(found.groups):,} group{'s' * (len(found.groups) != 1)} of duplicates among {found.items:,} items"
    return f"{groups}: {len(spare):,} {'copy' if len(spare) == 1 else 'copies'} besides the best, {size:,.1f} MB"


def _print(path: Location, found: "Duplicates") -> None:
    from llave.terminal import printable

    lines = [f"{path}: {_summary(found)}"]
    for group in found.groups[:SHOWN]:
        lines.append(f"{group.number:>4}  {printable(group.best.name)}  {_in_brackets(group.best)}")
        lines += [f"        {printable(copy.name)}  {_in_brackets(copy)}" for copy in group.copies[1:COPIES]]
        if len(group.copies) > COPIES:
            lines.append(f"        and {len(group.copies) - COPIES:,} more")
    if len(found.groups) > SHOWN:
        lines.append(f"and {len(found.groups) - SHOWN:,} more groups; all of them: --csv, --html or --json")
    sys.stdout.write("\n".join(lines) + "\n")


def _write_html(file: Path, path: Location, things: "Things", found: "Duplicates") -> None:
    from llave.report.sheet import Section, write_sheet

    places = {thing.id: place for place, thing in enumerate(things.all)}
    sections = []
    for group in found.groups:
        of_group = [places[copy.id] for copy in group.copies]
        pictures = things.pictures(of_group)
        cards = [
            card(things, place, picture, _about(copy), marked=copy is group.best)
            for place, picture, copy in zip(of_group, pictures, group.copies, strict=True)
        ]
        about = f"{len(cards)} copies, the best one first; the least certain: {_about(group.weakest)}"
        sections.append(Section(title=f"Group {group.number}", about=about, cards=cards))
    cosine = "not compared" if found.cosine is None else f"{found.cosine:g} and more"
    settings = {"items": f"{found.items:,} of {path}", "difference of looks": f"{found.near:g}", "cosine": cosine}
    write_sheet(file, "Duplicates", [f"{_summary(found)}. Nothing was deleted."], sections, settings)
