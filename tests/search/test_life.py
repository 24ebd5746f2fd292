"""A year's life of an index: whatever happens to its files, its model and its writers, it holds after every step what a
fresh index of the same files holds, and who reads it meanwhile is not disturbed."""

import csv
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.search.index import Index
from llave.search.info import index_info
from llave.search.manage import move_source
from llave.search.options import BuildOptions, BuildReport
from llave.search.sources import read_sources, write_sources
from llave.search.upgrade import upgrade_index
from tests.search.things import build, check_equal, rows

Draw = Callable[[int], Image.Image]
QUIET = BuildOptions(progress=False, make_map=False)

WORKER = """
import json, os, signal, sys
from pathlib import Path
from llave import load_model

models = [load_model("nano", device="cpu"), load_model(sys.argv[1], device="cpu")]  # once: writers are forks
models[1].truncate_dim = 128
left = 0

def event(*_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

def watched(method):
    def call(*words, **more):
        event()
        method(*words, **more)
        event()
    return call

def write(job):
    global left
    from llave.collection.open import open_collection
    from llave.search import update
    from llave.search.index import Index
    from llave.search.lance import LanceStore
    from llave.search.manage import move_source
    from llave.search.options import BuildOptions
    from llave.search.upgrade import upgrade_index

    left, update.CHUNK = job["events"], 3
    for name in ("upsert", "delete", "relocate", "optimize"):
        setattr(LanceStore, name, watched(getattr(LanceStore, name)))
    sys.addaudithook(lambda name, _: event() if name == "os.rename" else None)  # of every whole file
    index, quiet = Index.open(job["index"]), BuildOptions(progress=False, make_map=False)
    if job["do"] == "move":
        move_source(index, job["old"], job["source"])
    elif job["do"] == "upgrade":
        upgrade_index(index, models[job["model"]], quiet)
    else:
        update.update_index(index, models[job["model"]], open_collection(job["source"]), Path(job["source"]), quiet)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        write(json.loads(line))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Writes in forks that kill themselves at the given event: before or after a write to the table, or before a file is
replaced. Prints how each ended."""


class Life:
    """The folder, the index, and who reads it all the time."""

    def __init__(self, place: Path, models: list[SentenceTransformer], draw: Draw, seed: int) -> None:
        self.chance = random.Random(seed)
        self.models = models
        self.draw = draw
        self.model = 0
        self.folder = place / "folder 0"
        self.folder.mkdir()
        self.moves = 0
        self.facts: dict[str, list[str]] = {}
        for number in range(6):
            self.put(f"{number}.png" if number % 3 else f"{number}.txt")
        (self.folder / "bad.png").write_bytes(b"no picture")
        self.index = Index.create(place / "index", index_info(models[0], "nano"))
        self.reader, self.seen = Index.open(self.index.path), self.index.version()
        self.failures: list[BaseException] = []
        self.over = threading.Event()

    def put(self, name: str) -> None:
        """A file of new content."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".txt":
            path.write_text(f"text number {self.chance.random()}")
        else:
            self.draw(self.chance.randrange(200)).save(path)

    def some(self) -> Path:
        """A file, drawn by chance."""
        found = sorted(path for path in self.folder.rglob("*.*") if path.suffix != ".csv" and path.name != "bad.png")
        return self.chance.choice(found)

    def change(self) -> None:
        self.put(self.some().relative_to(self.folder).as_posix())

    def add(self) -> None:
        self.put(
            f"{self.chance.choice(['', 'sub/'])}{self.chance.randrange(1000)}{self.chance.choice(['.png', '.txt'])}"
        )

    def copy(self) -> None:
        path = self.some()
        shutil.copy(path, path.with_name(f"copy {self.chance.randrange(1000)}{path.suffix}"))

    def rename(self) -> None:
        path = self.some()
        (self.folder / "sub").mkdir(exist_ok=True)
        path.rename(self.folder / "sub" / f"renamed {self.chance.randrange(1000)}{path.suffix}")

    def exchange(self) -> None:
        """Two names change places."""
        one, other = self.some(), self.some()
        if one.suffix == other.suffix and one != other:
            aside = one.rename(one.with_name("aside"))
            other.rename(one)
            aside.rename(other)

    def delete(self) -> None:
        self.some().unlink()
        if not any(self.folder.rglob("*.txt")):
            self.put("last.txt")

    def tag(self) -> None:
        """Other values of a field, some of them missing."""
        names = [path.relative_to(self.folder).as_posix() for path in [self.some(), self.some()]]
        self.describe({name: str(self.chance.randrange(10)) for name in names})

    def retype(self) -> None:
        """The field holds words now."""
        self.describe(
            {self.some().relative_to(self.folder).as_posix(): self.chance.choice(["many", "2020-02-02", "true"])}
        )

    def describe(self, marks: dict[str, str]) -> None:
        with (self.folder / "metadata.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("file_name", "mark"), *marks.items()])

    def move(self) -> Path:
        """The whole folder."""
        old, self.moves = self.folder, self.moves + 1
        self.folder = old.rename(old.with_name(f"folder {self.moves}"))
        return old

    def bring_up_to_date(self) -> BuildReport:
        return build(Index.open(self.index.path), self.models[self.model], self.folder, make_map=False)

    def read(self) -> None:
        """Searches without end, while others write, die, and change the model."""
        while not self.over.is_set():
            reader = self.reader
            try:
                reader.search(np.ones(reader.info.dimension, np.float32), limit=3)
            except BaseException as error:
                self.failures.append(error)
                return
            self.over.wait(0.02)

    def follow(self) -> None:
        """The reader, as soon as it sees another version."""
        version = self.reader.version()
        if version != self.seen:
            self.reader, self.seen = self.reader.refreshed(), version

    def check(self, report: BuildReport) -> None:
        """Equal to a fresh index of the same files by the same model."""
        self.follow()
        fresh = Index.create(self.index.path.with_name("fresh"), index_info(self.models[self.model], "nano"))
        write_sources(fresh, {path: dataclasses.replace(one, updated="") for path, one in self.sources().items()})
        again = build(fresh, self.models[self.model], self.folder, make_map=False)
        found, wanted = rows(self.reader), rows(fresh)
        check_equal(found, wanted)
        assert {row.source for row in found.values()} == {str(self.folder)}
        assert report.errors.keys() == again.errors.keys() == {"bad.png"}
        shutil.rmtree(fresh.path)
        assert not self.failures

    def sources(self) -> dict[str, object]:
        return dict(read_sources(self.index))


@pytest.fixture
def worker(other_nano: SentenceTransformer) -> Iterator[Callable[..., int]]:
    """Starts a writer that is killed at an event; tells how it ended."""
    command = [sys.executable, "-c", WORKER, str(other_nano.source)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def write(**job: object) -> int:
            process.stdin.write(
                json.dumps({name: str(v) if isinstance(v, Path) else v for name, v in job.items()}) + "\n"
            )
            process.stdin.flush()
            return int(process.stdout.readline())

        yield write
        process.stdin.close()


YEARS = int(os.environ.get("LLAVE_YEARS", "1"))
"""A minute each; more of them when something about the index's life changes."""


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "steps"), [(seed, 26) for seed in range(YEARS)])
def test_a_year(
    seed: int,
    steps: int,
    tmp_path: Path,
    nano_untouched: SentenceTransformer,
    other_nano: SentenceTransformer,
    picture: Draw,
    worker: Callable[..., int],
) -> None:
    life = Life(tmp_path, [nano_untouched, other_nano], picture, seed=seed)
    life.check(life.bring_up_to_date())
    files = [life.change, life.add, life.copy, life.rename, life.exchange, life.delete, life.tag, life.retype]
    kinds = ["update", "update", "update", "move", "upgrade"]
    killed: set[str] = set()
    reading = threading.Thread(target=life.read)
    reading.start()
    try:
        for step in range(steps):
            kind = kinds[step % len(kinds)]
            job = {"index": life.index.path, "do": kind, "model": life.model}
            if kind == "move":
                old = life.move()
                job |= {"old": old, "do": life.chance.choice(["move", "update"])}  # said, or simply indexed again
            elif kind == "upgrade":
                life.model = job["model"] = 1 - life.model
            else:
                for _ in range(life.chance.randrange(1, 4)):
                    life.chance.choice(files)()
            before = rows(life.reader)  # which has just followed
            if life.chance.random() < 0.6 or step < len(kinds):
                code = worker(**job, source=life.folder, events=life.chance.randrange(12))
                assert code in (0, -signal.SIGKILL)
                if code:
                    killed.add(kind)
                life.follow()
                if kind == "upgrade" and code and Index.open(life.index.path).info == life.index.info:
                    check_equal(rows(life.reader), before)
            if job["do"] == "move" and life.chance.random() < 0.5 and str(old) in read_sources(life.index):
                move_source(Index.open(life.index.path), old, life.folder)
            if kind == "upgrade":
                life.index, _ = upgrade_index(Index.open(life.index.path), life.models[life.model], QUIET)
            life.check(life.bring_up_to_date())
    finally:
        life.over.set()
        reading.join()
    assert killed == set(kinds)
