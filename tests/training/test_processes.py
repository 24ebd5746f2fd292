"""Two processes under gloo, through torchrun and the command line, equal one process with twice the batch."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from llave import load_model
from llave.data.mmeb import MMEBFolder
from tests.models.tiny_backbones import build
from tests.shapes import make_folder

pytestmark = pytest.mark.slow

TOLERANCE = 2e-6
"""Float32: sums over ranks have another order. Weights move by 1e-3 and more."""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("processes")
    make_folder(root / "data")
    build("llava_onevision", root)
    return root


def arguments(work: Path, output: Path, *, processes: int, more: tuple[str, ...] = ()) -> list[str]:
    return [
        "-m", "llave.cli.main", "train", "--data", str(work / "data"), "--model", str(work / "llava_onevision"),
        "--output", str(output), "--batch_size", str(8 // processes), "--max_steps", "6", "--save_steps", "2",
        "--log_steps", "1", "--learning_rate", "1e-3", "--loss.mini_batch_size", "3", "--loss.temperature", "0.05",
        *more,
    ]  # fmt: skip


def launch(processes: int) -> list[str]:
    if processes == 1:
        return [sys.executable]
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]


def run(work: Path, output: Path, *, processes: int, more: tuple[str, ...] = ()) -> str:
    done = subprocess.run(
        [*launch(processes), *arguments(work, output, processes=processes, more=more)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def difference(a: Path, b: Path) -> float:
    first, second = load_file(a / "model.safetensors"), load_file(b / "model.safetensors")
    assert first.keys() == second.keys()
    return max(float((first[key] - second[key]).abs().max()) for key in first)


@pytest.mark.parametrize("adapter", [(), ("--adapter.rank", "4")], ids=["full", "lora"])
def test_two_processes_equal_one(work: Path, tmp_path: Path, adapter: tuple[str, ...]) -> None:
    watched = (*adapter, "--evaluate.benchmark", str(work / "data"), "--evaluate.keep_best", "false")
    run(work, tmp_path / "one", processes=1, more=adapter)
    before = load_model(work / "llava_onevision", device="cpu")[0].model.state_dict()
    after = load_model(tmp_path / "one", device="cpu")[0].model.state_dict()
    assert max(float((value - before[key]).abs().max()) for key, value in after.items()) > 1e-3
    for sharding in ("none", "fsdp"):
        output = tmp_path / sharding
        stderr = run(work, output, processes=2, more=(*watched, "--sharding", sharding))
        assert difference(tmp_path / "one", output) < TOLERANCE
        assert stderr.count("step 6/6") == 1  # the first process alone speaks
        losses = [line for line in (output / "metrics.jsonl").read_text().splitlines() if '"loss"' in line]
        assert len(losses) == 6
        whole = SentenceTransformer(str(output), device="cpu")
        assert whole.encode(["text"]).shape == (1, 32)
        sharded = output / "checkpoints" / "checkpoint-6" / "pytorch_model_fsdp_0"
        assert sharded.is_dir() is (sharding == "fsdp")


def test_killed_shards_go_on(work: Path, tmp_path: Path) -> None:
    more = ("--sharding", "fsdp")
    run(work, tmp_path / "whole", processes=2, more=more)
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [*launch(2), *arguments(work, killed, processes=2, more=more)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 240
    while not (killed / "checkpoints" / "checkpoint-2" / "trainer_state.json").exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    launcher = psutil.Process(process.pid)
    for each in (*launcher.children(recursive=True), launcher):  # torchrun's processes outlive it otherwise
        each.kill()
    process.wait()
    assert not (killed / "model.safetensors").exists()
    assert "going on from" in run(work, killed, processes=2, more=more)
    assert difference(tmp_path / "whole", killed) == 0


def test_a_mistake_while_training_ends_all(work: Path, tmp_path: Path) -> None:
    """No picture opens, which no process knows before its first batch: none waits for another for ever."""
    data = make_folder(tmp_path / "data")
    for path in (MMEBFolder(data).root / "images").iterdir():
        path.write_bytes(b"no picture")
    options = ("--data", str(data), "--verify_pictures", "false", "--max_steps", "40")
    done = subprocess.run(
        [*launch(2), *arguments(work, tmp_path / "run", processes=2, more=options)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode != 0
    assert "rows in a row cannot be used" in done.stderr
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_shards_need_processes(work: Path, tmp_path: Path) -> None:
    command = [sys.executable, *arguments(work, tmp_path / "run", processes=1, more=("--sharding", "fsdp"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2
    assert "sharding needs several processes" in done.stderr
