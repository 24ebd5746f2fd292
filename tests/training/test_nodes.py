"""Training over two machines, as far as a network makes them two: torchrun's rendezvous between namespaces."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.models.tiny_backbones import build
from tests.nodes import Node, cluster
from tests.shapes import make_folder

pytestmark = pytest.mark.slow

TOLERANCE = 2e-6
"""Float32: sums over ranks have another order. Weights move by 1e-3 and more."""
WAIT = 240


def arguments(work: Path, output: Path) -> list[str]:
    return [
        "-m", "llave.cli.main", "train", "--data", str(work / "data"), "--model", str(work / "llava_onevision"),
        "--output", str(output), "--global_batch_size", "8", "--max_steps", "10", "--save_steps", "2",
        "--log_steps", "1", "--learning_rate", "1e-3", "--loss.mini_batch_size", "3", "--loss.temperature", "0.05",
    ]  # fmt: skip


def join(node: Node, head: Node, log: Path, words: list[str]) -> "subprocess.Popen[str]":
    """torchrun on a node, of one or two."""
    launcher = [
        "-m", "torch.distributed.run", "--nnodes", "1:2", "--nproc_per_node", "1", "--max_restarts", "3",
        "--rdzv_id", "llave", "--rdzv_backend", "c10d", "--rdzv_endpoint", f"{head.address}:29400",
        "--rdzv_conf", f"last_call_timeout=10,is_host={int(node is head)}", "--local_addr", node.address,
    ]  # fmt: skip
    with log.open("w") as file:
        return node.start(sys.executable, *launcher, *words, stderr=file, stdout=file)


def until(there: Path, process: "subprocess.Popen[str]", log: Path) -> None:
    deadline = time.monotonic() + WAIT
    while not there.exists():
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.02)


def test_a_run_outlives_a_node(tmp_path: Path) -> None:
    """Two nodes share a step; one dies; the other goes on by itself, with all pairs of a step, to the weights that one
    process reaches which was never disturbed."""
    make_folder(tmp_path / "data")
    build("llava_onevision", tmp_path)
    whole, output = tmp_path / "whole", tmp_path / "run"
    alone = [sys.executable, *arguments(tmp_path, whole)]
    subprocess.run(alone, check=True, capture_output=True, timeout=WAIT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    with cluster(2) as (head, other):
        logs = [tmp_path / "head.log", tmp_path / "other.log"]
        first = join(head, head, logs[0], arguments(tmp_path, output))
        second = join(other, head, logs[1], arguments(tmp_path, output))
        until(output / "checkpoints" / "checkpoint-2" / "trainer_state.json", first, logs[0])
        assert '"processes": 2' in (output / "run.json").read_text()
        assert other.kill() >= 2  # torchrun and the process that trains
        second.wait()
        assert first.wait(timeout=WAIT) == 0, logs[0].read_text()[-3000:]
    said = logs[0].read_text()
    assert "going on from" in said
    assert '"processes": 1' in (output / "run.json").read_text()
    weights = [load_file(path / "model.safetensors") for path in (whole, output)]
    assert max(float((weights[0][key] - weights[1][key]).abs().max()) for key in weights[0]) < TOLERANCE
