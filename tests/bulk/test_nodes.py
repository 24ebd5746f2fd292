"""A Ray cluster of two machines, as far as a network makes them two; one of them dies."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

from llave.bulk.manifest import open_manifest
from llave.bulk.run import embed_collection
from tests.bulk.test_embed import settings, shards
from tests.nodes import Node, cluster

pytestmark = pytest.mark.slow

WAIT = 300
PORT = 6379


def raylet(node: Node, head: Node, log: Path) -> "subprocess.Popen[str]":
    """A node of the cluster: Ray's own command, as on any machine."""
    joins = ["--head", f"--port={PORT}", "--include-dashboard=false"]
    if node is not head:
        joins = [f"--address={head.address}:{PORT}"]
    options = [
        f"--node-ip-address={node.address}", "--num-cpus=2", "--object-store-memory=100000000", "--block",
        "--disable-usage-stats",
    ]  # fmt: skip
    with log.open("w") as file:
        return node.start(
            sys.executable, "-m", "ray.scripts.scripts", "start", *joins, *options, stdout=file, stderr=file
        )


def until(what: "subprocess.Popen[str]", log: Path, done: object) -> None:
    deadline = time.monotonic() + WAIT
    while not done():  # type: ignore[operator]
        assert what.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.1)


def test_a_run_outlives_a_node(tmp_path: Path, nano_untouched: SentenceTransformer) -> None:
    """Shards are those of one process, whichever node wrote them; the parts of the one that died go to the other."""
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"id": n, "text": f"text {n} " * (n % 7 + 1)}) + "\n" for n in range(800)))
    here = open_manifest(tmp_path / "here", settings(texts, nano_untouched))
    embed_collection(here, nano_untouched, progress=False)
    out, logs = tmp_path / "out", [tmp_path / f"{name}.log" for name in ("head", "other", "embed")]
    with cluster(2) as (head, other):
        begun = raylet(head, head, logs[0])
        until(begun, logs[0], lambda: "Ray runtime started" in logs[0].read_text())
        joined = raylet(other, head, logs[1])
        until(joined, logs[1], lambda: "Ray runtime started" in logs[1].read_text())
        with logs[2].open("w") as file:
            run = head.start(
                sys.executable, "-m", "llave.cli.main", "embed", "nano", str(texts), "--out", str(out),
                "--shard_size", "10", "--engine", "ray", "--ray_address", f"{head.address}:{PORT}", "--workers", "4",
                "--device", "cpu", "--dtype", "float32",
                stdout=file, stderr=file, env={"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"},
            )  # fmt: skip
        until(run, logs[2], lambda: len(list((out / "shards").glob("*.parquet"))) >= 4)
        assert other.kill() >= 2
        assert run.wait(timeout=WAIT) == 0, logs[2].read_text()[-3000:]
    assert shards(out) == shards(here.out)
