"""An index in object storage: made, searched, changed and moved on by anybody who has its address; by one at a time."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave import Index, build_index
from llave.cli.main import main
from llave.errors import UserError
from llave.search.info import index_info
from llave.search.lance import LanceStore
from llave.search.options import BuildOptions
from llave.search.projection import FILE as MAP
from llave.storage import lease
from llave.storage.lease import leased
from llave.storage.location import ObjectPath
from tests.search.things import build, check_equal, rows
from tests.storage.server import Fault, new_bucket, running

QUIET = BuildOptions(progress=False, weigh=False)


@pytest.fixture(params=["gs", "az"])
def elsewhere(request: pytest.FixtureRequest) -> Iterator[str]:
    """In object storage that is not S3."""
    with new_bucket(request.param) as bucket:
        yield f"{bucket}/of us/photos.index"


@pytest.fixture
def address() -> Iterator[str]:
    with new_bucket() as bucket:
        yield f"{bucket}/of us/photos.index"


@pytest.fixture
def photos(tmp_path: Path, picture: Callable[[int], Image.Image]) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        picture(number).save(folder / f"{number}.png")
    (folder / "note.txt").write_text("a red umbrella in the snow")
    (folder / "bad.png").write_bytes(b"no picture")
    return folder


def test_the_whole_life_of_an_index(
    address: str, photos: Path, tmp_path: Path, nano_untouched: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, report = build_index(address, nano_untouched, photos, options=QUIET)
    assert (report.added, len(report.errors)) == (7, 1)
    folder = ObjectPath.parse(address)
    names = {each.key for each in folder.files() if not each.key.startswith("lance/")}
    assert names == {"index.json", "sources.json", "errors.jsonl", MAP}
    here, _ = build_index(tmp_path / "here", nano_untouched, photos, options=QUIET)
    check_equal(rows(index), rows(here))

    monkeypatch.setenv("LLAVE_HOME", str(tmp_path / "of another machine"))
    found = Index.open(address)
    found.use_model(nano_untouched)
    assert [hit.id for hit in found.search("umbrella", limit=3)] == [hit.id for hit in here.search("umbrella", limit=3)]
    assert found.map() is not None
    assert found.withheld() == [str(photos)], "its files are another machine's"

    (photos / "0.png").unlink()
    (photos / "other.txt").write_text("a green one")
    version = found.version()
    _, report = build_index(address, nano_untouched, photos, options=QUIET)
    assert (report.added, report.removed, report.unchanged, len(report.known)) == (1, 1, 6, 1)
    assert found.version() != version
    assert found.refreshed().count() == 7
    found.set_field("label", {found.search("umbrella", limit=1)[0].id: "wet"})
    assert Index.open(address).count("label = wet") == 1
    monkeypatch.undo()


def test_in_other_object_storage(elsewhere: str, photos: Path, nano_untouched: SentenceTransformer) -> None:
    index, report = build_index(elsewhere, nano_untouched, photos, options=QUIET)
    assert (report.added, len(report.errors)) == (7, 1)
    (photos / "0.png").unlink()
    index, report = build_index(elsewhere, nano_untouched, photos, options=QUIET)
    assert (report.removed, report.unchanged) == (1, 6)
    found = Index.open(elsewhere)
    found.use_model(nano_untouched)
    assert found.count() == 6
    assert len(found.search("umbrella", limit=3)) == 3
    check_equal(rows(found), rows(index))


def test_by_the_command_line(address: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", "nano", str(photos), "--index", address, "--strict", "--weigh", "false"]) == 1
    assert f"{address}: 7 items" in capsys.readouterr().out
    assert main(["search", "umbrella", "--index", address, "--mode", "words", "--json"]) == 0
    assert "note.txt" in capsys.readouterr().out
    assert main(["index", "sources", address, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert main(["index", "check", address, "--queries", "2"]) == 0
    capsys.readouterr()
    for wrong, said in (
        (address.replace("/photos", "/none"), "no index here; make one with"),
        ("s3://bucket-of-nobody/x", "no such bucket"),
        ("hf://bucket/x", "s3://, gs:// and az://, not hf://"),
    ):
        assert main(["search", "umbrella", "--index", wrong]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


def test_two_writers_at_once(
    address: str, photos: Path, nano_untouched: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one is told, and loses nothing by coming again."""
    monkeypatch.setattr(lease, "RENEW", 0.5)
    index, _ = build_index(address, nano_untouched, photos, options=QUIET)
    other = ObjectPath.parse(address)
    refused = pytest.raises(UserError, match=r"another process writes to this index; wait until it is done \(process")
    with leased(other / "write.lock", other, taken="taken"), refused:
        build(index, nano_untouched, photos)
    assert build(index, nano_untouched, photos).unchanged == 7


def test_two_create_at_once(address: str, nano_untouched: SentenceTransformer) -> None:
    info = index_info(nano_untouched, "nano")
    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(Index.create, address, info) for _ in range(2)]
    failed = [str(result.exception()) for result in results if result.exception()]
    assert len(failed) == 1
    assert "another process has begun an index there" in failed[0]
    assert Index.open(address).count() == 0


def test_a_writer_that_lost_its_lock_commits_no_more(
    address: str, photos: Path, nano_untouched: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, _ = build_index(address, nano_untouched, photos, options=QUIET)
    before = rows(index)
    monkeypatch.setattr(lease, "RENEW", 0.05)
    folder = ObjectPath.parse(address)
    with ExitStack() as held:
        held.enter_context(pytest.raises(UserError, match="another one writes there now"))
        held.enter_context(leased(folder / "write.lock", folder, taken="taken"))
        monkeypatch.setattr(lease._Lease, "_renew", _taken_over)
        time.sleep(0.3)
        refused = pytest.raises(UserError, match="another one writes there now")
        with refused:
            index.store.delete(list(before))
    check_equal(rows(index), before)


def _taken_over(self: lease._Lease) -> None:
    """What a renewal finds after another process has come."""
    self._tag = None


@pytest.mark.parametrize("kind", ["busy", "slow"])
def test_faults_that_pass(address: str, photos: Path, nano_untouched: SentenceTransformer, kind: str) -> None:
    faults = [Fault(kind, times=1, method=method, part="lance", seconds=0.2) for method in ("GET", "PUT", "POST")]
    running().faults += faults
    index, report = build_index(address, nano_untouched, photos, options=dataclasses.replace(QUIET, make_map=False))
    assert report.added == index.count() == 7
    running().faults += (cut := [Fault("cut", times=2, method="GET", part="/data/")])
    assert len(rows(Index.open(address))) == 7
    assert sum(fault.hit for fault in (*faults, *cut)) >= 4


@pytest.mark.parametrize(
    ("kind", "said"), [pytest.param("busy", "busy", marks=pytest.mark.slow), ("denied", "access denied")]
)
def test_faults_that_stay_end_in_a_line(
    address: str, photos: Path, nano_untouched: SentenceTransformer, kind: str, said: str
) -> None:
    index, _ = build_index(address, nano_untouched, photos, options=dataclasses.replace(QUIET, make_map=False))
    running().faults.append(Fault(kind, part="lance"))
    for act in (lambda: Index.open(address).count(), lambda: rows(index), index.version):
        start = time.monotonic()
        with pytest.raises(UserError, match=f"^s3://[^\n]*{said}[^\n]*$"):
            act()
        assert time.monotonic() - start < 60
    (photos / "new.txt").write_text("new")
    with pytest.raises(UserError, match=f"^s3://[^\n]*{said}[^\n]*$"):
        build(index, nano_untouched, photos)
    running().faults.clear()
    assert build(index, nano_untouched, photos).added == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from llave import build_index, load_model
from llave.search import update
from llave.search.options import BuildOptions

update.CHUNK = 64
address, source, at = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
written = update._Run._write
parts = 0

def watched(self, fresh):
    global parts
    written(self, fresh)
    parts += 1
    if parts == at:
        os.kill(os.getpid(), signal.SIGKILL)

update._Run._write = watched
build_index(address, load_model("nano", device="cpu"), source, options=BuildOptions(progress=False, weigh=False))
"""


@pytest.mark.slow
def test_killed_in_the_middle(address: str, tmp_path: Path, nano_untouched: SentenceTransformer) -> None:
    """The next run waits for a sign of life from the one that was killed, goes on, and ends with the same index."""
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"id": n, "text": f"text number {n}"}) + "\n" for n in range(500)))
    whole, _ = build_index(tmp_path / "whole", nano_untouched, source, options=QUIET)
    for at in (1, 3):
        command = [sys.executable, "-c", KILLED, address, str(source), str(at)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert run.returncode == -signal.SIGKILL, run.stderr
        assert (ObjectPath.parse(address) / "write.lock").is_file()
    assert "waiting up to 20 s for a sign of life" in run.stderr
    assert Index.open(address).count() == 3 * 64
    index, report = build_index(address, nano_untouched, source, options=QUIET)
    assert (report.added, report.unchanged) == (500 - 3 * 64, 3 * 64)
    check_equal(rows(index), rows(whole))
    assert not (ObjectPath.parse(address) / "write.lock").is_file()


APPENDS = """
import sys
import numpy as np
from llave.search.lance import LanceStore
from llave.storage.location import location
from tests.search.test_stores import row

store = LanceStore(location(sys.argv[1]), 16)
for number in range(6):
    store.upsert([row(int(sys.argv[2]) * 6 + number, np.ones(16, np.float32))], new=number % 2 == 0)
"""


@pytest.mark.slow
def test_two_processes_commit_at_once(address: str) -> None:
    """Without any lock of ours: every commit of a table is a conditional write, and what two wrote at once is there."""
    store = LanceStore(ObjectPath.parse(address) / "lance", 16)
    command = [sys.executable, "-c", APPENDS, f"{address}/lance"]
    runs = [subprocess.Popen([*command, str(n)], stderr=subprocess.PIPE, text=True) for n in range(2)]
    for run in runs:
        assert run.communicate(timeout=300)[1].count("Error") == 0
        assert run.returncode == 0
    store.version()
    assert sorted(map(int, store.column(["key"])["key"])) == list(range(12))
