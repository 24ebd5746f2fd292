"""Benchmarks by name, by table, or by folder."""

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from llave.collection.collection import Columns
from llave.data.mmeb import MMEBFolder
from llave.data.tables import is_table
from llave.errors import DataError, UserError
from llave.evaluation.benchmarks.folder import folder_benchmark
from llave.evaluation.benchmarks.pairs import pairs_benchmark
from llave.evaluation.benchmarks.places import Place
from llave.evaluation.benchmarks.readers import READ
from llave.evaluation.benchmarks.spec import BenchmarkSpec, TaskSpec, read_spec
from llave.evaluation.benchmarks.task import Benchmark, Task, TaskData

__all__ = ["NAMES", "Benchmark", "Task", "TaskData", "choose_tasks", "get_benchmark", "get_spec"]

T = TypeVar("T")
NAMES = ("mmeb", "mmeb-v2", "video-retrieval")
"""Benchmarks that come with llave; each is a table in ``tables/``."""
VARIABLES = {"mmeb": "LLAVE_MMEB", "mmeb-v2": "LLAVE_MMEB_V2", "video-retrieval": "LLAVE_MMEB_V2"}


def get_benchmark(
    name_or_path: str | Path,
    *,
    root: str | Path | None = None,
    tasks: str | None = None,
    columns: Columns | None = None,
    candidates: int | None = None,
    seed: int = 0,
) -> Benchmark:
    """The benchmark of a name, of a list (``.yaml``), of a folder in MMEB's or BEIR's format, or of a table of pairs.

    Args:
        name_or_path: one of :data:`NAMES`; a table of one's own, see ``llave.evaluation.benchmarks.spec``; or a folder
            with ``eval/NAME.parquet``, ``images/`` and an optional ``benchmark.json``, or with ``corpus``, ``queries``
            and ``qrels``; or a table with texts and pictures (:mod:`llave.evaluation.benchmarks.pairs`).
        root: where a named benchmark's or a table's data lies; the variables ``LLAVE_MMEB`` and ``LLAVE_MMEB_V2``, or
            the table's folder, otherwise.
        tasks: comma-separated names, meta-tasks, modalities or splits to keep; None is all.
        columns: of a table of pairs. candidates: that its queries face; None is all. seed: by which they are drawn.

    Raises:
        UserError: an unknown name, nothing left, or ``candidates`` without a table of pairs.
        DataError: missing or malformed data.
    """
    name = str(name_or_path)
    path = Path(name)
    if name in NAMES:
        place = root or os.environ.get(VARIABLES[name])
        how = f"get it with `llave data download {name} --out DIR`, and name DIR by --root or {VARIABLES[name]}"
        if not place:
            raise DataError(f"{name}: no folder with its data given; {how}")
        return _benchmark(get_spec(name), Place(Path(place), how), tasks)
    pairs = is_table(path) and path.is_file()
    if candidates is not None and not pairs:
        raise UserError(f"--candidates is for tables of pairs; {name} says which candidates there are")
    if pairs:
        found = pairs_benchmark(path, columns=columns, candidates=candidates, seed=seed)
        words = {task.name: (task, _words(task.meta_task, task)) for task in found.tasks}
        return Benchmark(found.name, _chosen(found.name, words, tasks), found.note)
    if path.suffix in (".yaml", ".yml"):
        return _benchmark(read_spec(path), Place(Path(root or path.parent)), tasks)
    if not path.is_dir():
        raise UserError(f"{name}: no benchmark ({', '.join(NAMES)}), list of tasks (.yaml), table of pairs or folder")
    if not (path / "eval").is_dir() and any(path.glob("qrels*")):
        page = TaskSpec(name=path.resolve().name, reader="beir", modality="visdoc", metric="ndcg_linear@5", rows=".")
        return _benchmark(BenchmarkSpec(page.name, [page]), Place(path), tasks)
    folder = folder_benchmark(path)
    return Benchmark(
        folder.name,
        _chosen(folder.name, {task.name: (task, _words(task.meta_task, task)) for task in folder.tasks}, tasks),
    )


def get_spec(name: str) -> BenchmarkSpec:
    """The table of a benchmark that comes with llave."""
    return read_spec(Path(str(files(__package__) / "tables" / f"{name}.yaml")))


def choose_tasks(spec: BenchmarkSpec, tasks: str | None) -> list[TaskSpec]:
    """The data sets of a table whose name, meta-task, modality or split is listed; all without a list.

    Raises:
        UserError: a word that chooses nothing.
    """
    return _chosen(spec.name, {about.name: (about, _words(about.meta, about)) for about in spec.tasks}, tasks)


def _benchmark(spec: BenchmarkSpec, place: Place, tasks: str | None) -> Benchmark:
    chosen = choose_tasks(spec, tasks)
    missing = [what for about in chosen if (what := place.missing(about)) is not None]
    if missing:
        more = f" (and {len(missing) - 1} more of {len(chosen)} data sets)" if len(missing) > 1 else ""
        raise DataError(f"{missing[0]}{more}{place.advice}; or choose data sets that are there with --tasks")
    return Benchmark(spec.name, [_task(about, place) for about in chosen])


def _task(spec: TaskSpec, place: Place) -> Task:
    return Task(
        name=spec.name,
        meta_task=spec.meta,
        split=spec.split,
        folder=MMEBFolder(place.root) if spec.reader == "mmeb" else place,
        read=lambda: READ[spec.reader](spec, place),
        where=str(place.rows_folder(spec)),
        modality=spec.modality,
        metric=spec.metric,
        expected=spec.queries,
        picture_names=spec.picture_names,
        published_name=spec.leaderboard,
    )


def _words(meta: str, about: TaskSpec | Task) -> set[str]:
    """What a data set can be chosen by."""
    return {about.name, meta, about.modality} | ({about.split} if about.split else set())


def _chosen(name: str, known: Mapping[str, tuple[T, set[str]]], tasks: str | None) -> list[T]:
    wanted = {word.strip() for word in (tasks or "").split(",") if word.strip()}
    every = {word for _, words in known.values() for word in words}
    unknown = sorted(wanted - every)
    if unknown:
        raise UserError(f"--tasks: no {unknown[0]!r} in {name}; there are: {', '.join(sorted(every))}")
    return [about for about, words in known.values() if not wanted or words & wanted]
