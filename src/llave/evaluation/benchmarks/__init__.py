"""Benchmarks by name, by table, or by folder."""

import os
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from llave.collection.collection import Columns
from llave.data.cache import cache_directory
from llave.data.fetched import local
from llave.data.hub import FolderFiles
from llave.data.hub_cache import copy_of, hub_snapshot
from llave.data.mmeb import MMEBFolder
from llave.data.tables import is_table
from llave.errors import DataError, UserError
from llave.evaluation.benchmarks.download import unpack_media
from llave.evaluation.benchmarks.folder import folder_benchmark
from llave.evaluation.benchmarks.pairs import pairs_benchmark
from llave.evaluation.benchmarks.places import Place
from llave.evaluation.benchmarks.readers import READ
from llave.evaluation.benchmarks.spec import Archive, BenchmarkSpec, TaskSpec, read_spec
from llave.evaluation.benchmarks.task import Absent, Benchmark, Task, TaskData

__all__ = ["NAMES", "Benchmark", "Task", "TaskData", "choose_tasks", "get_benchmark", "get_spec", "missing_data"]

T = TypeVar("T")
Copy = Callable[[Archive], Path | None]
VARIABLES = {
    "mmeb": "LLAVE_MMEB",
    "mmeb-v2": "LLAVE_MMEB_V2",
    "mmeb-v3": "LLAVE_MMEB_V3",
    "video-retrieval": "LLAVE_MMEB_V2",
}
NAMES = tuple(VARIABLES)
"""Benchmarks that come with llave; each is a table in ``tables/``."""


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
        root: where a named benchmark's or a table's data lies: a folder of ours, one that ``hf download --local-dir``
            made, or a cache of the hub. Otherwise the variables ``LLAVE_MMEB``, ``LLAVE_MMEB_V2`` and
            ``LLAVE_MMEB_V3``, then the hub's cache; or the table's folder.
        tasks: comma-separated names, meta-tasks, modalities or splits to keep; None is all.
        columns: of a table of pairs. candidates: that its queries face; None is all. seed: by which they are drawn.

    Raises:
        UserError: an unknown name, nothing left, or ``candidates`` without a table of pairs.
        DataError: malformed data, or none of the data sets is there. One that is not there says so when it is read.
    """
    name = str(name_or_path)
    path = local(Path(name))
    if name in NAMES:
        spec = get_spec(name)
        place, copy, is_there = _found(spec, root)
        if not is_there and all(place.missing(about) for about in choose_tasks(spec, tasks)):
            raise DataError(
                f"{name}: no folder with its data given, and {spec.hub} is not in the hub's cache; {place.how}"
            )
        return _benchmark(spec, place, tasks, copy)
    of_pairs = is_table(path) and path.is_file()
    if candidates is not None and not of_pairs:
        raise UserError(f"--candidates is for tables of pairs; {name} says which candidates there are")
    if of_pairs:
        found = pairs_benchmark(path, columns=columns, candidates=candidates, seed=seed)
        words = {task.name: (task, _words(task.meta_task, task)) for task in found.tasks}
        return Benchmark(found.name, _chosen(found.name, words, tasks), found.note)
    if path.suffix in (".yaml", ".yml"):
        spec = read_spec(path)
        return _benchmark(spec, Place(Path(root or path.parent), also=spec.also), tasks)
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


def missing_data(name: str, *, root: str | Path | None = None, tasks: str | None = None) -> dict[str, str | None]:
    """Of each data set of a benchmark that comes with llave, what this machine lacks of it; None is nothing.

    Args:
        name: one of :data:`NAMES`. root, tasks: as of :func:`get_benchmark`.
    """
    spec = get_spec(name)
    place, copy, _ = _found(spec, root)
    return {about.name: _missing(spec, about, place, copy) for about in choose_tasks(spec, tasks)}


def _found(spec: BenchmarkSpec, root: str | Path | None) -> tuple[Place, Copy, bool]:
    """Where the data of a benchmark that comes with llave lies, its archives' copies, and whether anything is there.

    What ``hf download`` left in the hub's cache is read there, and nothing is written into it: media, which are packed,
    are unpacked to a folder of llave's own cache. In a folder of the user's they are unpacked beside the archive.
    """
    variable = VARIABLES[spec.name]
    how = f"get it with `llave data download {spec.name} --out DIR`, and name DIR by --root or {variable}"
    given = root or os.environ.get(variable)
    folder = Path(given) if given else None
    repository = hub_snapshot(spec.hub) if folder is None else copy_of(spec.hub, folder)
    if folder is not None and (repository is None or repository.parent.name != "snapshots"):
        return Place(folder, how, spec.also), lambda _: folder, True
    own = cache_directory() / "benchmarks" / spec.name
    cache = None if repository is None else repository.parents[2]
    place = Place(own / repository.name if repository else own, how, spec.also, cache)
    return place, lambda archive: hub_snapshot(archive.hub, cache), repository is not None


def _benchmark(spec: BenchmarkSpec, place: Place, tasks: str | None, copy: Copy = lambda _: None) -> Benchmark:
    """``copy``: the folder of this machine that may hold an archive, from which media can be unpacked."""
    chosen = choose_tasks(spec, tasks)
    absent = [what for about in chosen if (what := _missing(spec, about, place, copy)) is not None]
    if len(absent) == len(chosen):
        more = f" (and {len(absent) - 1} more of {len(chosen)} data sets)" if len(absent) > 1 else ""
        raise DataError(f"{absent[0]}{more}{place.advice}")
    revisions = {about.hub or about.rows: commit for about in chosen if (commit := place.revision(about)) is not None}
    return Benchmark(spec.name, [_task(spec, about, place, copy) for about in chosen], revisions=revisions)


def _missing(spec: BenchmarkSpec, about: TaskSpec, place: Place, copy: Copy) -> str | None:
    packed = [folder for archive in spec.archives_of(about) if (folder := _holds(archive, copy)) is not None]
    return None if packed and spec.packed(about) else place.missing(about, packed=bool(packed))


def _holds(archive: Archive, copy: Copy) -> Path | None:
    folder = copy(archive)
    there = folder is not None and all(next(folder.glob(pattern), None) for pattern in archive.files)
    return folder if there else None


def _task(benchmark: BenchmarkSpec, spec: TaskSpec, place: Place, copy: Copy) -> Task:
    def read() -> TaskData:
        missing = place.missing(spec)
        archives = {archive.media: _holds(archive, copy) for archive in benchmark.archives_of(spec)}
        if all(archives.values()) and (missing or place.root.is_relative_to(cache_directory())):
            unpack_media(benchmark, spec, lambda a: FolderFiles(archives[a.media] or place.root, a.files), place.root)
            missing = place.missing(spec)
        if missing is not None:
            raise Absent(f"{missing}{place.advice}")
        return READ[spec.reader](spec, place)

    return Task(
        name=spec.name,
        meta_task=spec.meta,
        split=spec.split,
        folder=MMEBFolder(place.root) if spec.reader == "mmeb" and place.laid_out(spec) else place,
        read=read,
        where=str(place.rows_folder(spec)),
        modality=spec.modality,
        metric=spec.metric,
        expected=spec.queries,
        picture_names=spec.picture_names,
        published_name=spec.leaderboard,
        source=spec.source,
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
