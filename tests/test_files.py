"""Files and folders are whole or not there: after a kill, an exception, a full disk, and with two writers at once."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from llave.files import (
    holds_nothing,
    recover_folder,
    remove_leftovers,
    settle,
    whole_file,
    whole_folder,
    write_bytes,
    write_json,
    write_jsonl,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def writing(code: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has written half of ``path`` and waits for a line, or for its end."""
    program = f"import sys\nfrom pathlib import Path\nfrom llave.files import *\npath = Path(sys.argv[1])\n{code}"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        yield process


HALF_FILE = """
with whole_file(path) as partial, partial.open("w") as file:
    file.write("new" * 1000)
    file.flush()
    print("half", flush=True)
    sys.stdin.readline()
"""
HALF_FOLDER = """
with whole_folder(path, replace=True) as partial:
    (partial / "a").write_text("new")
    print("half", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("before", ["old", None])
def test_killed_in_the_middle(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "value.json"
    if before is not None:
        path.write_text(before)
    with writing(HALF_FILE, path) as process:
        remove_leftovers(tmp_path)  # of nobody: the writer lives
        assert len(names(tmp_path)) == 1 + (before is not None)
        process.send_signal(signal.SIGKILL)
    left = [name for name in names(tmp_path) if name != path.name]
    assert len(left) == 1
    assert left[0].startswith(".llave-")
    assert left[0].endswith(".partial")
    assert (path.read_text() if path.exists() else None) == before
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ([path.name] if before is not None else [])


def test_folder_killed_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with whole_folder(path) as partial:
        (partial / "a").write_text("old")
    with writing(HALF_FOLDER, path) as process:
        process.send_signal(signal.SIGKILL)
    assert (path / "a").read_text() == "old"
    assert not holds_nothing(tmp_path)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize(("killed", "kept"), [("between", "old"), ("after", "new")])
def test_folder_killed_between_the_two_names(killed: str, kept: str, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "a").write_text("old")
    rename = Path.rename

    def ends(self: Path, target: Path) -> Path:
        last = self.name == path.name and self.parent != tmp_path
        if last and killed == "between":
            os._exit(9)
        renamed = rename(self, target)
        if last:
            os._exit(9)
        return renamed

    child = os.fork()
    if child == 0:
        Path.rename = ends  # type: ignore[method-assign, assignment]
        with whole_folder(path, replace=True) as partial:
            (partial / "a").write_text("new")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert path.exists() == (killed == "after")
    recover_folder(path)
    assert (path / "a").read_text() == kept
    with whole_folder(path, replace=True) as partial:
        (partial / "a").write_text("newer")
    assert (path / "a").read_text() == "newer"
    assert [name for name in names(tmp_path) if not name.endswith(".partial")] == ["model"]


def test_two_writers_at_once(tmp_path: Path) -> None:
    path = tmp_path / "value.txt"
    both = threading.Barrier(2)

    def write(letter: str) -> None:
        with whole_file(path) as partial:
            partial.write_text(letter)
            both.wait()
            with partial.open("a") as file:
                file.write(letter)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in {"aa", "bb"}
    assert names(tmp_path) == ["value.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_exception(tmp_path: Path, error: type[BaseException]) -> None:
    write_text(tmp_path / "value.txt", "old")

    def write_file() -> None:
        with whole_file(tmp_path / "value.txt") as partial:
            partial.write_text("new")
            raise error

    def write_folder() -> None:
        with whole_folder(tmp_path / "folder") as partial:
            (partial / "a").write_text("new")
            raise error

    for write in (write_file, write_folder):
        with pytest.raises(error):
            write()
    assert names(tmp_path) == ["value.txt"]
    assert (tmp_path / "value.txt").read_text() == "old"


def test_values_that_fail_halfway(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with pytest.raises(TypeError):
        write_jsonl(path, ({"row": row} if row < 3 else {"row": object()} for row in range(9)))
    assert names(tmp_path) == []


def test_disk_is_full(tmp_path: Path) -> None:
    """The limit of a process's files stands for it: a write fails in the middle."""
    code = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_bytes(path, b"small")
try:
    write_bytes(path, b"x" * 5000)
except OSError as error:
    print("half", flush=True)
"""
    with writing(code, tmp_path / "value"):
        pass
    assert names(tmp_path) == ["value"]
    assert (tmp_path / "value").read_text() == "small"


def _torch(path: Path) -> None:
    save_file({"a": torch.zeros(2)}, path)


def _parquet(path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)


def _feather(path: Path) -> None:
    feather.write_feather(pa.table({"a": [1]}), str(path))


def _numpy(path: Path) -> None:
    np.save(path, np.zeros(2))


def _picture(path: Path) -> None:
    Image.new("RGB", (2, 2)).save(path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.safetensors", _torch),
        ("a.parquet", _parquet),
        ("a.arrow", _feather),
        ("a.npy", _numpy),
        ("a.png", _picture),
        ("a.json", lambda path: path.write_text("{}")),
        ("n" * 255, lambda path: path.write_text("")),
    ],
)
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_libraries_write_with_the_modes_of_the_umask(
    tmp_path: Path, name: str, write: Callable[[Path], object], umask: int
) -> None:
    before = os.umask(umask)
    try:
        with whole_file(tmp_path / "new" / name) as partial:
            assert partial.name == name
            write(partial)
        with whole_folder(tmp_path / "folder") as partial:
            _torch(partial / "a")
    finally:
        os.umask(before)
    assert names(tmp_path / "new") == [name]
    assert stat.S_IMODE((tmp_path / "new" / name).stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~umask
    assert stat.S_IMODE((tmp_path / "folder" / "a").stat().st_mode) == 0o666 & ~umask


def test_a_file_that_is_replaced_keeps_mode_and_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o600)
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o600


def test_a_pipe_is_written_to() -> None:
    code = "from llave.files import write_text; write_text('/dev/stdout', 'through')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"through"


def test_half_a_surrogate_pair(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"text": "ä \ud800", "\udfff": 1})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"text": "ä \ud800", "\udfff": 1}
    write_jsonl(tmp_path / "a.jsonl", ["\ud800\u2028", {"b": "\n"}])
    lines = (tmp_path / "a.jsonl").read_bytes().split(b"\n")
    assert [json.loads(line) for line in lines[:-1]] == ["\ud800\u2028", {"b": "\n"}]
    write_text(tmp_path / "a.txt", "ä \ud800")
    assert (tmp_path / "a.txt").read_text("utf-8") == "ä ?"


def test_a_folder_that_holds_something_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with whole_folder(path) as partial:
        (partial / "a").write_text("first")
    with pytest.raises(OSError, match="not empty"), whole_folder(path) as partial:
        (partial / "a").write_text("second")
    assert (path / "a").read_text() == "first"
    assert names(tmp_path) == ["folder"]


def test_many_small_files(tmp_path: Path) -> None:
    with writing(HALF_FILE, tmp_path / "a" / "killed") as process:
        process.send_signal(signal.SIGKILL)
    paths = [tmp_path / "a" / "1", tmp_path / "b" / "2"]
    for path in paths:
        with whole_file(path, durable=False) as partial:
            partial.write_text(path.name)
    settle(paths)
    assert (names(tmp_path / "a"), names(tmp_path / "b")) == (["1"], ["2"])


def test_holds_nothing(tmp_path: Path) -> None:
    assert holds_nothing(tmp_path / "missing")
    assert holds_nothing(tmp_path)
    with whole_file(tmp_path / "a") as partial:
        assert holds_nothing(tmp_path)
        partial.write_text("")
    assert not holds_nothing(tmp_path)
    assert not holds_nothing(tmp_path / "a")
    write_bytes(tmp_path / "deep" / "er" / "b", b"")
    assert names(tmp_path / "deep" / "er") == ["b"]
