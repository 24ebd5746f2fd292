"""A model of one's own from one table: parts that do not leak, scores before, training, scores after, a verdict.

What is done is in ``fit.json`` and on the disk, so that a run that was killed goes on: the parts are not drawn again,
vectors of the start model are kept, and training goes on from its newest checkpoint.
"""

import gc
import json
import os
import shutil
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from llave.data.door import named
from llave.data.images import load_image
from llave.data.sources import find_source
from llave.data.tables import read_table
from llave.data.train_table import open_table, pictures_of
from llave.errors import UserError
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.result import EvalResult
from llave.evaluation.runner import evaluate
from llave.files import holds_nothing, remove_leftovers, write_json, write_text
from llave.fit.card import fit_card
from llave.fit.config import FitConfig
from llave.fit.folder import GROUP, WHERE, write_data
from llave.fit.recipe import EVALUATIONS, recipe_for, within
from llave.fit.rows import read_rows, source_state
from llave.fit.split import split_rows
from llave.fit.verdict import judge
from llave.fit.words import advice, data_lines, next_lines, plan_line, scores_line
from llave.models.model import EmbeddingModel
from llave.models.nano_features import use_feature_cache
from llave.models.open import is_late, load_model, save_model
from llave.models.precision import eval_dtype
from llave.progress import show_progress
from llave.report.fit import write_fit_report
from llave.terminal import quiet_libraries
from llave.training.config import TrainConfig
from llave.training.dry_run import dry_run
from llave.training.record import RUN_FILE, training_seconds
from llave.training.run import train

__all__ = ["FIT_FILE", "fit"]

FIT_FILE = "fit.json"
LISTED = 1000
"""Rows that are left out and listed with their reason; beyond, counted."""
FREE = {"out", "json"}
"""Options that change nothing of the model."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where things are in the output directory."""

    out: Path

    @property
    def record(self) -> Path:
        return self.out / FIT_FILE

    @property
    def data(self) -> Path:
        return self.out / "data"

    @property
    def training(self) -> Path:
        return self.out / "training" / self.out.resolve().name  # its name is the model card's title

    @property
    def cache(self) -> Path:
        return self.out / "cache"

    @property
    def features(self) -> Path:
        return self.cache / "vision.safetensors"


def fit(config: FitConfig, out: Path, base: str, *, console: Console | None = None) -> dict[str, Any]:
    """Make the model in ``out``; returns the content of its ``fit.json``.

    Args:
        base: the model to start from.

    Raises:
        UserError: a table that cannot be used, another run in ``out``, a model that cannot be opened.
    """
    quiet_libraries()
    console = console or Console(stderr=True)
    place, begin = _Place(out), time.monotonic()
    record = _begun(config, place, base)
    if record["status"] == "finished":
        _tidy(place)  # a kill may have come before
        since = "" if record["state"] == source_state(config.source) else f", and {config.source} has changed since"
        _say(console, f"{out} is finished already{since}; another --out makes another model")
        return record
    if is_late(base):
        raise UserError(f"{base}: a model of late interaction, and fit trains one vector for an item (--base)")
    model = load_model(base, dtype=eval_dtype(None, None))  # before the table is read: it may not be there
    if "data" not in record:
        _make_data(config, place, record)
    for line in data_lines(record["data"]):
        _say(console, line)
    features = use_feature_cache(model, place.features)
    _say(console, f"scores of {base} on the parts that are held out")
    before, validated = _score(model, place.data, place), _score(model, place.data / "validation", place)
    _say(console, f"before: {scores_line(before)}")
    if before.cut:
        _say(console, f"{before.cut:,} texts are longer than the {model.max_seq_length} tokens that the model reads")
    recipe = _recipe(config, place, base, model, record)
    if features is not None:
        _fill(features, place.data, record["data"]["kind"])
    del model, features
    gc.collect()
    if "plan" not in record:
        a_step = dry_run(recipe, console=Console(quiet=True)).seconds_per_step
        looking = EVALUATIONS * validated.seconds + before.seconds
        record["plan"] = {"lora": recipe.adapter is not None, "seconds_per_step": a_step, "seconds_looking": looking}
        write_json(place.record, record)
    plan = record["plan"]
    if config.minutes is not None:
        recipe = within(recipe, 60 * config.minutes - plan["seconds_looking"], plan["seconds_per_step"])
    plan["seconds"] = recipe.max_steps * plan["seconds_per_step"] + plan["seconds_looking"]
    _say(console, plan_line(recipe, plan))
    if not _is_trained(place):
        train(recipe, console=console, title="fit")
    record["training"] = _trained(recipe, place, validated)
    _assemble(place, base, kept=record["training"]["kept"])
    model = load_model(out, dtype=eval_dtype(None, None))
    use_feature_cache(model, place.features)
    after = _score(model, place.data, place)
    _say(console, f"after: {scores_line(after)}")
    verdict = judge(before, after, _column(place.data, before, GROUP))
    record |= {"scores": verdict.to_json(), "line": verdict.line(), "advice": advice(record, verdict, base)}
    record |= {"next": next_lines(record, out), "seconds": round(time.monotonic() - begin, 1), "status": "finished"}
    trained_card = (place.training / "README.md").read_text("utf-8")
    write_text(out / "README.md", fit_card(record, out.resolve().name, trained_card))
    where = _column(place.data, before, WHERE)
    write_fit_report(place.out / "report.html", record, [*verdict.datasets, verdict.overall], where, before, after)
    write_json(place.record, record)
    _tidy(place)
    return record


def _recipe(config: FitConfig, place: _Place, base: str, model: EmbeddingModel, record: dict[str, Any]) -> TrainConfig:
    """The same again for a run that goes on: the memory that is free is another by then."""
    if "plan" in record:
        config = replace(config, lora="yes" if record["plan"]["lora"] else "no")
    data = record["data"]
    return recipe_for(
        config,
        base,
        model,
        data=place.data,
        output=place.training,
        features=place.features,
        kind=data["kind"],
        rows=data["rows"]["train"],
        negatives=data["negatives"] > 0,
    )


def _tidy(place: _Place) -> None:
    """Checkpoints and vectors are for a run that goes on."""
    for folder in (place.out / "training", place.cache):
        shutil.rmtree(folder, ignore_errors=True)


def _begun(config: FitConfig, place: _Place, base: str) -> dict[str, Any]:
    """The record of this very run, or a new one.

    Raises:
        UserError: something else is in the directory.
    """
    asked = {key: value for key, value in asdict(config).items() if key not in FREE} | {"base": base}
    asked = json.loads(json.dumps(asked, default=str))
    state = source_state(config.source)
    path = place.record
    if not path.is_file():
        if not holds_nothing(place.out):
            raise UserError(f"{place.out}: not empty, and not of `llave fit`; choose another --out")
        return {"status": "running", "asked": asked, "state": state}
    with named(str(path), f"damaged; remove {place.out}, or choose another --out"):
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        before, status = dict(found["asked"]), str(found["status"])
    different = sorted(key for key in asked if before.get(key) != asked[key])
    if different:
        raise UserError(f"{place.out}: holds a model with another {', '.join(different)}; choose another --out")
    if found.get("state") != state and status != "finished":
        raise UserError(f"{config.source} has changed since this run began; choose another --out")
    remove_leftovers(place.out)
    return found


def _make_data(config: FitConfig, place: _Place, record: dict[str, Any]) -> None:
    """Read the table, draw the parts and write them."""
    rows = read_rows(config.source, config.asked, config.images)
    split = split_rows(rows, config.seed)
    write_json(place.record, record)  # from here on the directory is this run's
    if place.data.exists():  # a kill came before fit.json knew
        shutil.rmtree(place.data)
    found = write_data(place.data, rows, split)
    kinds = Counter(each.kind for each in rows.left_out)
    record["data"] = {
        "kind": rows.chosen.kind,
        "columns": str(rows.chosen),
        "pictures": None if rows.root is None else str(rows.root),
        "read": rows.read,
        "usable": len(rows.rows),
        "rows": {name: len(part) for name, part in split.rows.items()},
        "groups": {name: len(set(part)) for name, part in split.groups.items()},
        "negatives": sum(row.negative is not None for row in split.rows["train"]),
        "negatives_dropped": split.negatives_dropped,
        "labels": len({row.positive.text for row in rows.rows}) if rows.chosen.kind == "classes" else None,
        "not_asked": {each.name: each.not_asked for each in found["test"] if each.not_asked},
        "left_out": dict(kinds.most_common()),
        "left_out_rows": [asdict(each) for each in rows.left_out[:LISTED]],
    }
    write_json(place.record, record)


def _score(model: EmbeddingModel, data: Path, place: _Place) -> EvalResult:
    return evaluate(model, get_benchmark(str(data)), cache_dir=place.cache / "vectors").complete()


def _fill(features: Any, data: Path, kind: str) -> None:
    """Vision features of all training pictures: a frozen tower sees each once, and the steps that are timed none."""
    pictures = pictures_of(
        [open_table(find_source(data, kind), progress=False)], ("qry_image_path", "pos_image_path", "neg_image_path")
    )
    with show_progress() as work:
        work.stage("vision features", len(pictures), unit="pictures")
        for start in range(0, len(pictures), features.batch_size):
            paths = [pictures[place] for place in range(start, min(start + features.batch_size, len(pictures)))]
            features.features([load_image(path) for path in paths])
            work.advance(len(paths))
    features.save()


def _trained(recipe: TrainConfig, place: _Place, validated: EvalResult) -> dict[str, Any]:
    """What was trained and how, and which checkpoint is kept: the best by the validation part, the start included."""
    run = json.loads((place.training / RUN_FILE).read_text("utf-8"))
    best = run["best"]
    return {
        "seconds": training_seconds(place.training / "metrics.jsonl"),
        "versions": run["versions"],
        "machine": run["machine"],
        "steps": recipe.max_steps,
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate,
        "projector_learning_rate": recipe.projector_learning_rate,
        "temperature": recipe.loss.temperature,
        "lora": recipe.adapter is not None,
        "freeze": recipe.freeze,
        "best_step": best["step"],
        "validation_before": validated.overall,
        "validation_best": best["score"],
        "kept": "start" if best["score"] < validated.overall else "trained",
    }


def _is_trained(place: _Place) -> bool:
    """Whether a kill came after training."""
    path = place.training / RUN_FILE
    return path.is_file() and json.loads(path.read_text("utf-8"))["status"] == "finished"


def _assemble(place: _Place, base: str, *, kept: str) -> None:
    """The model's files into the output directory: the trained ones, or the start model's if none was better."""
    if kept == "start":
        save_model(load_model(base, device="cpu"), place.out)
        return
    shutil.copytree(
        place.training,
        place.out,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("checkpoints", "best", "evaluation.json", "README.md"),
        copy_function=_linked,
    )


def _linked(source: str, target: str) -> str:
    """A second name instead of a copy: a model may be large."""
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without
        shutil.copy2(source, target)
    return target


def _column(data: Path, result: EvalResult, column: str) -> dict[str, list[Any]]:
    """By data set, what the rows of its queries say there."""
    return {name: [row[column] for row in read_table(data / "eval" / f"{name}.parquet")] for name in result.tasks}


def _say(console: Console, line: str) -> None:
    console.print(f"fit: {line}", soft_wrap=True, markup=False, highlight=False)
