"""Calls that can be killed: deadlines, memory, crashes, threads, forks and the end of the parent."""

import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from llave.data.bounded import MAX_WORKERS, end_workers, run_bounded
from llave.errors import DataError, UserError

FOREVER = 3600.0


def workers_of(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children()
    return [child for child in children if any("bounded_worker" in part for part in child.cmdline())]


def test_results_and_errors_come_back() -> None:
    assert run_bounded(max, 3, 7, seconds=60, name="x") == 7
    with pytest.raises(DataError, match=r"^a\.png: cannot decode \(math domain error\)$"):
        run_bounded(math.sqrt, -1, seconds=60, name="a.png")
    with pytest.raises(UserError, match=r"^do this$"):
        run_bounded(_refuse, "do this", seconds=60, name="a.png")


def test_paths_are_from_the_folder_that_we_are_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "it").write_text(name)
        monkeypatch.chdir(tmp_path / name)  # the process was started in another one
        assert run_bounded(Path.read_text, Path("it"), seconds=60, name="it") == name


def test_what_takes_too_long_is_killed_and_others_go_on() -> None:
    with ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(run_bounded, time.sleep, FOREVER, seconds=0.2, name="slow") for _ in range(3)]
        quick = [pool.submit(run_bounded, abs, -n, seconds=60, name="quick") for n in range(40)]
        assert [done.result() for done in quick] == list(range(40))
        for done in slow:
            with pytest.raises(DataError, match=r"slow: more than 0\.2 s of decoding"):
                done.result()
    assert len(workers_of(os.getpid())) <= MAX_WORKERS


def test_a_crash_or_too_much_memory_costs_one_item() -> None:
    with pytest.raises(DataError, match=r"bad: its decoder ended the process \(exit -11\)"):
        run_bounded(_crash, seconds=60, name="bad")
    with pytest.raises(DataError, match=r"big: cannot decode \(not enough memory\)"):
        run_bounded(bytes, 1 << 40, seconds=60, name="big")
    assert run_bounded(abs, -1, seconds=60, name="x") == 1


def test_an_idle_worker_that_was_killed_is_replaced() -> None:
    run_bounded(abs, -1, seconds=60, name="x")
    for worker in workers_of(os.getpid()):
        worker.kill()
        worker.wait()
    assert run_bounded(abs, -1, seconds=60, name="x") == 1


def test_ended_while_one_works(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(run_bounded, _write_and_sleep, begun, seconds=FOREVER, name="x")
        assert begun.read_text() == "begun"  # waits until it is written
        end_workers()
        with pytest.raises(DataError, match="x: its decoder ended the process"):
            waiting.result()
    assert run_bounded(abs, -1, seconds=60, name="x") == 1


def test_a_forked_child_has_workers_of_its_own() -> None:
    ours = run_bounded(os.getpid, seconds=60, name="x")
    child = os.fork()
    if child == 0:
        theirs = run_bounded(os.getpid, seconds=60, name="x")
        end_workers()
        os._exit(0 if theirs != ours else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert run_bounded(os.getpid, seconds=60, name="x") == ours


@pytest.mark.parametrize("busy", [False, True])
def test_no_worker_outlives_a_parent_that_is_killed(busy: bool) -> None:
    script = "import os, time\nfrom llave.data.bounded import run_bounded\n"
    script += "print(run_bounded(os.getpid, seconds=60, name=''), flush=True)\n"
    script += f"run_bounded(time.sleep, {FOREVER}, seconds={FOREVER}, name='')" if busy else "time.sleep(3600)"
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    worker.wait(60)


def test_a_signal_to_the_whole_group_costs_no_item() -> None:
    pid = run_bounded(os.getpid, seconds=60, name="x")
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    assert run_bounded(os.getpid, seconds=60, name="x") == pid


def test_a_worker_is_light(tmp_path: Path) -> None:
    """Neither torch nor the caller's script is loaded, and the script needs no ``if __name__ == "__main__"``."""
    script = tmp_path / "script.py"
    script.write_text(
        "from llave.data.bounded import run_bounded\n"
        "loaded = run_bounded(eval, '__import__(\"sys\").modules.keys() | ()', seconds=60, name='')\n"
        "print(len(loaded & {'torch', 'transformers', 'script'}), 'llave.data.bounded_worker' in loaded)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == "0 True\n"


def test_a_worker_says_nothing_beside_its_answer() -> None:
    """Libraries in C write what they think of a file to stderr, which is the user's terminal."""
    script = (
        "from llave.data.bounded import run_bounded\nimport os\nrun_bounded(os.write, 2, b'noise', seconds=60, name='')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def _refuse(message: str) -> None:
    raise UserError(message)


def _write_and_sleep(path: Path) -> None:
    path.write_text("begun")
    time.sleep(FOREVER)


def _crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)
