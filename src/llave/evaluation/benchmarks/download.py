"""Fetch a benchmark that comes with llave: the rows of chosen data sets, their labels, and the media that they need."""

import fnmatch
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rich.console import Console

from llave.data.hub import DONE, Done, Files, fetch_checked
from llave.data.tables import is_table
from llave.data.untar import unpack_tar
from llave.data.unzip import unpack
from llave.errors import DataError, UserError
from llave.evaluation.benchmarks.label_lists import shipped_labels
from llave.evaluation.benchmarks.places import Place, is_of, of_config
from llave.evaluation.benchmarks.spec import Archive, BenchmarkSpec, TaskSpec

__all__ = ["Fetched", "download_benchmark", "unpack_media"]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A data set as it is on disk now: its tables, and what is still missing, in words, or None."""

    name: str
    tables: int
    missing: str | None


def download_benchmark(
    spec: BenchmarkSpec,
    tasks: Sequence[TaskSpec],
    out: Path,
    open_files: Callable[[str], Files],
    console: Console | None = None,
) -> list[Fetched]:
    """Rows under ``OUT/rows/OWNER/NAME`` (MMEB-V1: ``OUT/eval``), labels under ``OUT/labels``, media where the
    benchmark's table says.

    Only what the tasks need; each file's size and hash are checked, and the same call goes on after an interruption.

    Args:
        spec: the benchmark.
        tasks: the chosen data sets.
        out: folder to make or to complete; ``--root OUT`` evaluates it.
        open_files: the files of a repository, at the hub or in a copy.

    Raises:
        UserError: no network, a repository without what it should have, or a file that is not what the hub states.
    """
    console = console or Console(stderr=True)
    out.mkdir(parents=True, exist_ok=True)
    done = Done(out / DONE)
    opened: dict[str, Files] = {}
    place = Place(out, also=spec.also)

    def files(repository: str) -> Files:
        if repository not in opened:
            opened[repository] = open_files(repository)
        return opened[repository]

    fetched = []
    for task in tasks:
        tables = 0 if spec.packed(task) else _rows(task, place, files(task.hub or task.rows or spec.hub), done)
        unpack_media(spec, task, lambda archive: files(archive.hub), out, console)
        _labels(task, out)
        missing = place.missing(task)
        fetched.append(Fetched(task.name, tables, missing))
        console.print(f"{task.name}: {tables} tables" + (f"; {missing}" if missing else ""))
    return fetched


def unpack_media(
    spec: BenchmarkSpec, task: TaskSpec, files: Callable[[Archive], Files], out: Path, console: Console | None = None
) -> None:
    """Fetch and unpack the archives of a data set's media, and of its rows where they are packed, once."""
    done = Done(out / DONE)
    for archive in spec.archives_of(task):
        _media(archive, files(archive), out, done, console or Console(stderr=True))


def _labels(task: TaskSpec, out: Path) -> None:
    """The list that comes with llave, as a file that can be read and changed."""
    shipped = shipped_labels(task.name)
    if task.labels is not None and shipped is not None and not (out / "labels" / shipped.name).exists():
        (out / "labels").mkdir(exist_ok=True)
        shutil.copyfile(shipped, out / "labels" / shipped.name)


def _rows(task: TaskSpec, place: Place, files: Files, done: Done) -> int:
    """Fetch a data set's tables; returns their number."""
    out = place.root
    if task.hub:
        named = [path for path in files.listing if any(path.startswith(f"{name}/") for name in place.names(task.rows))]
        for path in named:
            fetch_checked(files, path, out, done)
        if not named:
            raise UserError(f"{task.name}: no {' or '.join(place.names(task.rows))} in {task.hub}")
        return len(named)
    mmeb = task.reader == "mmeb"
    configs = {"mmeb": [task.name], "instructed": [task.name], "beir": ["queries", "corpus", "qrels"]}.get(
        task.reader, task.configs or [""]
    )
    count = 0
    for config in configs:
        split = "test" if mmeb else task.hub_split
        named = [path for path in files.listing if is_table(Path(path))]
        if config:
            named = [path.as_posix() for path in of_config([_pure(path) for path in named], config, split)]
        chosen = [path for path in named if split and is_of(_pure(path), split)] or named
        if not chosen:
            raise UserError(f"{task.name}: no table of {config or 'its rows'} in {task.rows or 'MMEB-eval'}")
        for path in chosen:
            if not mmeb:
                fetch_checked(files, path, out / "rows" / task.rows, Done(out / "rows" / task.rows / DONE))
                count += 1
                continue
            table = fetch_checked(files, path, out, done)
            (out / "eval").mkdir(exist_ok=True)
            target = out / "eval" / f"{task.name}{table.suffix}"
            if not target.exists():
                target.hardlink_to(table)
            count += 1
    return count


def _media(archive: Archive, files: Files, out: Path, done: Done, console: Console) -> None:
    wanted = []
    for pattern in archive.files:
        named = sorted(fnmatch.filter(files.listing, pattern))
        if not named:
            raise UserError(f"{archive.hub} has no {pattern} here")
        wanted += named
    for paths in [[path] for path in wanted] if archive.each else [wanted]:
        last = files.listing[paths[-1]]
        label = f"unpacked {paths[0] if archive.each else archive.media}"
        if done.has(label, last):
            continue
        size = sum(files.listing[path].size or 0 for path in paths)
        console.print(f"{archive.media}: {', '.join(paths)} ({size / 1e9:.2f} GB)")
        parts = [fetch_checked(files, path, out, done) for path in paths]
        try:
            if parts[0].suffix == ".zip":
                unpack(parts[0], out / archive.into)
            else:
                unpack_tar(parts, out / archive.into, strip=archive.strip)
            inner = out / archive.into / archive.inner
            if inner.is_file():
                unpack_tar([inner], inner.parent)
        except DataError as error:
            raise UserError(f"{error}; delete it and run this again") from None
        done.add(label, last)


def _pure(path: str) -> Path:
    return Path(PurePosixPath(path))
