"""``llave mteb MODEL TASK[,TASK …] --out DIR``."""

import difflib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llave.cli.parsing import parse
from llave.data.door import reason_of
from llave.errors import UserError

__all__ = ["MtebConfig", "run"]


@dataclass(frozen=True, kw_only=True)
class MtebConfig:
    """Tasks of mteb.

    Args:
        model: a model directory, a hub id, or "nano".
        tasks: names of tasks or benchmarks of mteb, with commas between: 'MIEB(lite)', 'ViDoRe(v3)', 'ViDoRe(v3.1)',
            MAEB (sounds), MVEB (videos), …; a folder in MMEB's format is one, too.
        out: mteb's result files go here; what is there of the same weights is not run again.
        name: organisation/name in the results; null takes the hub id, or local/ and the directory's name.
        instructions: "mmeb" writes MMEB's instructions before the items, for models trained with them.
        batch_size: items per forward pass.
        device: e.g. cpu or cuda; null is the best there is.
        json: print the scores as JSON instead of a table.
    """

    model: str
    tasks: str
    out: Path
    name: str | None = None
    instructions: Literal["mmeb"] | None = None
    batch_size: int = 32
    device: str | None = None
    json: bool = False


def run(argv: list[str]) -> int:
    """Run the tasks, print their main scores, and leave mteb's files in ``out``."""
    config = parse(
        MtebConfig,
        argv,
        command="mteb",
        description="mteb's tasks with their data from the Hugging Face hub, the pictures included. Examples: "
        "llave mteb runs/nano STL10ZeroShot,CIRRIT2IRetrieval --out runs/mteb; llave mteb runs/nano 'MIEB(lite)' "
        "--out runs/mteb (or 'ViDoRe(v3)', 'ViDoRe(v3.1)', MAEB, MVEB); llave mteb runs/nano data/sample --out "
        "runs/mteb (local). `mteb available-tasks` lists names",
        positional=("model", "tasks"),
    )
    import llave.evaluation.mteb  # noqa: F401  # says how to install mteb

    return _run(config)


def _run(config: MtebConfig) -> int:
    import datasets
    import mteb

    from llave.evaluation.mteb import mteb_model
    from llave.models.nano_features import use_feature_cache
    from llave.terminal import quiet_libraries

    quiet_libraries()
    tasks = _tasks(config.tasks)
    model = mteb_model(config.model, name=config.name, instructions=config.instructions, device=config.device)
    use_feature_cache(model.model)
    tasks = _fitting(model.mteb_model_meta.modalities, tasks)
    shown = sys.stderr.isatty()
    if not shown:
        datasets.disable_progress_bars()
    try:
        result = mteb.evaluate(
            model,
            tasks,
            cache=mteb.ResultCache(config.out),
            co2_tracker=False,
            encode_kwargs={"batch_size": config.batch_size, "show_progress_bar": shown},
            show_progress_bar=shown,
        )
    except OSError as error:  # the hub's and datasets' errors among them
        raise UserError(f"cannot get the data of a task: {reason_of(error)}") from None
    metric = {task.metadata.name: task.metadata.main_score for task in tasks}
    rows = [(done.task_name, metric[done.task_name], done.get_score()) for done in result.task_results]
    if config.json:
        found = {name: {"metric": of, "score": score} for name, of, score in rows}
        sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{model.mteb_model_meta.name} in mteb", caption=f"all scores: {config.out}/results")
    for heading in ("task", "metric"):
        table.add_column(heading)
    table.add_column("score %", justify="right")
    for name, of, score in rows:
        table.add_row(name, of, f"{100 * score:.1f}")
    Console().print(table)
    return 0


def _tasks(names: str) -> list[Any]:
    """The tasks of all names; ``MTEB(eng, v2)`` is one name."""
    import mteb

    from llave.evaluation.mteb import mmeb_tasks

    tasks: list[Any] = []
    for name in (part.strip() for part in re.split(r",(?![^(]*\))", names)):
        if Path(name).is_dir():
            tasks += mmeb_tasks(name)
            continue
        try:
            tasks += mteb.get_benchmark(name).tasks  # by its name or another (MAEB is the newest of its versions)
            continue
        except KeyError:
            pass  # then it is a task
        try:
            tasks.append(mteb.get_task(name))
        except KeyError:
            known = [
                *(benchmark.name for benchmark in mteb.get_benchmarks()),
                *(task.metadata.name for task in mteb.get_tasks()),
            ]
            close = ", ".join(difflib.get_close_matches(name, known)) or "see `mteb available-tasks`"
            raise UserError(f"mteb has no task or benchmark {name!r}; alike: {close}") from None
    return tasks


def _fitting(of_model: Sequence[str], tasks: list[Any]) -> list[Any]:
    """The tasks whose modalities the model takes; mteb itself runs one of pictures and texts with the texts alone.

    Raises:
        UserError: none.
    """
    fit = [task for task in tasks if set(task.metadata.modalities) <= set(of_model)]
    unfit = [task.metadata.name for task in tasks if task not in fit]
    if unfit:
        lacking = {kind for task in tasks for kind in task.metadata.modalities} - set(of_model)
        more = f" and {len(unfit) - 3} more" if len(unfit) > 3 else ""
        what = f"the model takes no {' or '.join(sorted(lacking))}, only {', '.join(of_model)}"
        line = f"left out {len(unfit)} of {len(tasks)} tasks: {what}: {', '.join(unfit[:3])}{more}"
        if not fit:
            raise UserError(line)
        sys.stderr.write(f"llave: {line}\n")
    return fit
