"""``llave classify photos --labels cats,dogs``: labels for the items of an index, a folder or a table."""

import dataclasses
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llave.cli.parsing import parse
from llave.cli.sorting import find_input, give_field, open_things, write_csv
from llave.collection.collection import Columns
from llave.errors import UserError
from llave.storage.location import Location

if TYPE_CHECKING:
    from llave.progress import Work
    from llave.sorting.classify import Classified, Examples

__all__ = ["ClassifyConfig", "run"]

UNSURE = 10
CSV = ("name", "id", "label", "score", "second", "second_score", "given")


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig:
    """Labels.

    Args:
        input: an index, a folder or a table; null is the index that `llave search` takes.
        index: the same, for an index.
        labels: "cats,dogs"; or a .txt file with a label a line, each with prompts of its own if it has any ("cats: a
            photo of a cat | a kitten"); or examples, as a table with the columns item (a path or id) and label, or as a
            folder of a folder for each label.
        prompt: for labels without prompts of their own; given several times, their mean counts. Null is "a picture of
            {label}".
        threshold: of the score, from 0 to 1; an item below it is called "none".
        temperature: of the scores; null is the model's, or the one that the examples give.
        filter: only these items of the index, e.g. "year >= 2020".
        columns: which column of a table holds what.
        field: write every item's label into this field of the index.
        csv: write every item's label and scores to this file.
        json: print JSON.
        seed: of the folds of the examples.
        model: of a folder or table; of an index, where its model is now, if it has moved.
        device: e.g. cpu or cuda; null is the best there is.
    """

    input: Path | None = None
    labels: str
    index: Location | None = None
    prompt: list[str] = field(default_factory=list)
    threshold: float = 0.0
    temperature: float | None = None
    filter: str = ""
    columns: Columns = field(default_factory=Columns)
    field: str | None = None
    csv: Path | None = None
    json: bool = False
    seed: int = 0
    model: str | None = None
    device: str | None = None


def run(argv: list[str]) -> int:
    """Print how many items each label has, and those that are unsure."""
    config = parse(
        ClassifyConfig,
        argv,
        command="classify",
        description="Give labels, by prompts alone or by a few examples of each. With two examples or more of a label, "
        "a linear probe is compared with the prompts on examples that it has not seen; the better one is used. "
        "Examples: llave classify --index photos.index --labels 'cats, dogs, people' --field label; llave classify "
        "photos --model google/siglip2-base-patch16-224 --labels examples.csv --csv labels.csv.",
        positional=("input",),
        repeated=("prompt",),
    )
    if not 0 <= config.threshold <= 1 or not (config.temperature is None or config.temperature > 0) or config.seed < 0:
        raise UserError(
            f"threshold {config.threshold:g}, temperature {config.temperature}, seed {config.seed}: from 0 to 1, above "
            "0, at least 0"
        )
    path, index = find_input(config.input, config.index, config.field)
    if index is None and config.model is None:
        raise UserError(f"{path}: no index, so that a model is wanted: --model")
    from llave.models.open import load_model
    from llave.progress import show_progress
    from llave.sorting.labels import classify_things, read_examples, read_labels
    from llave.terminal import quiet_libraries

    quiet_libraries()
    labels, examples = {}, None
    source = Path(config.labels)
    if "," not in config.labels and source.suffix.lower() != ".txt" and not source.is_dir():
        examples = read_examples(source)
    elif not source.is_dir():
        labels = read_labels(config.labels)
    if index is not None:
        model = index.use_model(config.model, device=config.device)
    else:
        model = load_model(str(config.model), device=config.device)
    with show_progress() as work:
        things = open_things(path, index, work, filter=config.filter, columns=config.columns, model=model)
        found = classify_things(
            things,
            model,
            labels,
            prompt=None if index is None else index.info.prompts["query"],
            prompts=config.prompt,
            examples=_of_folder(source, model, work) if source.is_dir() else examples,
            threshold=config.threshold,
            temperature=config.temperature,
            seed=config.seed,
        )
    give_field(index, config.field, {item.id: item.label for item in found.items})
    if config.csv is not None:
        write_csv(config.csv, [dataclasses.asdict(item) for item in found.items], CSV)
    if config.json:
        shown = {**dataclasses.asdict(found), "counts": found.counts()}
        sys.stdout.write(json.dumps(shown, indent=2, ensure_ascii=False) + "\n")
    else:
        _print(path, found)
    return 0


def _of_folder(folder: Path, model: Any, work: "Work") -> "Examples":
    """Every item of a folder of folders, labelled by the first of its folders."""
    from llave.sorting.classify import Examples
    from llave.sorting.things import read_things

    things = read_things(folder, work, model=model)
    places = [place for place, thing in enumerate(things.all) if "/" in thing.name]
    if not places or things.vector_ND is None:
        raise UserError(f"{folder}: no items in folders; examples are a folder for each label, with its items")
    if len(places) < len(things):
        sys.stderr.write(f"llave: {len(things) - len(places):,} items of {folder} are in no folder, and no examples\n")
    return Examples(things.vector_ND[places], [things.all[place].name.partition("/")[0] for place in places])


def _print(path: Location, found: "Classified") -> None:
    from llave.terminal import printable

    lines = [f"{path}: {len(found.items):,} items by {found.way}, temperature {found.temperature:.3g}"]
    width = max(len(label) for label in found.counts())
    lines += [f"  {printable(label):<{width}}  {count:,}" for label, count in found.counts().items()]
    lines += [str(each) for each in found.quality] + list(found.notes)
    if unsure := found.unsure(UNSURE):
        lines.append("least sure:")
        lines += [
            f"  {printable(item.name)}  {item.label} {item.score:.2f}, {item.second} {item.second_score:.2f}"
            for item in unsure
        ]
    sys.stdout.write("\n".join(lines) + "\n")
