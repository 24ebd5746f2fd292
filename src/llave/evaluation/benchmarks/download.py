"""Fetch a benchmark that comes with llave: the rows of chosen data sets, and the media archives that they need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rich.console import Console

from llave.data.hub import DONE, Done, Files, fetch_checked
from llave.data.tables import is_table
from llave.data.untar import unpack_tar
from llave.data.unzip import unpack
from llave.errors import DataError, UserError
from llave.evaluation.benchmarks.places import Place, is_of, of_config
from llave.evaluation.benchmarks.spec import Archive, BenchmarkSpec, TaskSpec

__all__ = ["Fetched", "download_benchmark"]


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
    """Rows under ``OUT/rows/OWNER/NAME`` (MMEB-V1: ``OUT/eval``) and media where the benchmark's table says.

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

    def files(repository: str) -> Files:
        if repository not in opened:
            opened[repository] = open_files(repository)
        return opened[repository]

    fetched = []
    for task in tasks:
        tables = _rows(task, files(task.rows or spec.hub), out, done)
        archive = next((a for a in spec.archives if task.media.startswith(a.media) or task.reader == a.media), None)
        if archive is not None:
            _media(archive, files(spec.hub), spec.hub, out, done, console)
        missing = Place(out).missing(task)
        fetched.append(Fetched(task.name, tables, missing))
        console.print(f"{task.name}: {tables} tables" + (f"; {missing}" if missing else ""))
    return fetched


def _rows(task: TaskSpec, files: Files, out: Path, done: Done) -> int:
    """Fetch a data set's tables; returns their number."""
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


def _media(archive: Archive, files: Files, repository: str, out: Path, done: Done, console: Console) -> None:
    missing = [path for path in archive.files if path not in files.listing]
    if missing:
        raise UserError(f"{repository} has no {missing[0]} here")
    last = files.listing[archive.files[-1]]
    label = f"unpacked {archive.media}"
    if done.has(label, last):
        return
    size = sum(files.listing[path].size or 0 for path in archive.files)
    console.print(f"{archive.media}: {', '.join(archive.files)} ({size / 1e9:.2f} GB)")
    parts = [fetch_checked(files, path, out, done) for path in archive.files]
    try:
        if parts[0].suffix == ".zip":
            unpack(parts[0], out / archive.into)
        else:
            unpack_tar(parts, out / archive.into, strip=archive.strip)
    except DataError as error:
        raise UserError(f"{error}; delete it and run this again") from None
    done.add(label, last)


def _pure(path: str) -> Path:
    return Path(PurePosixPath(path))
