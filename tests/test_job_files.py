"""The job files of deploy/: the shell reads them, and llave's own parsers take the commands in them."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from llave.cli.embed import EmbedConfig
from llave.cli.parsing import parse
from llave.training.config import TrainConfig

DEPLOY = Path(__file__).parents[1] / "deploy"
SCRIPTS = sorted(DEPLOY.glob("slurm/*.sbatch"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_one_to_the_shell_and_to_slurm(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    lines = script.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    options = [number for number, line in enumerate(lines) if line.startswith("#SBATCH ")]
    assert options
    assert max(options) < first
    assert "set -euo pipefail" in lines


def test_the_training_command_in_a_script_of_its_own_world(tmp_path: Path) -> None:
    """With programs in Slurm's place that say what they were asked: torchrun's words, and the user's own after them."""
    told = tmp_path / "told"
    for name, text in {
        "scontrol": "echo node7; echo node8",
        "srun": 'shift; exec "$@"',  # its one option; the task itself runs here
        "python": f'printf "%s\\n" "$@" > {told}',
    }.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/bash\n{text}\n")
        program.chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_NNODES": "2",
           "SLURM_GPUS_ON_NODE": "8", "SLURM_JOB_ID": "12", "SLURM_NODEID": "0"}  # fmt: skip
    own = ["nano", "--data", "a folder", "--global_batch_size", "512", "--output", "out"]
    subprocess.run(["bash", DEPLOY / "slurm/train.sbatch", *own], check=True, env=env)
    words = told.read_text().splitlines()
    assert words[-len(own) :] == own
    launcher = words[: words.index("llave.cli.main")]
    assert dict(zip(launcher[2:-1:2], launcher[3:-1:2], strict=True)) == {
        "--nnodes": "2", "--nproc_per_node": "8", "--rdzv_id": "12", "--rdzv_backend": "c10d",
        "--rdzv_endpoint": "node7:29400", "--rdzv_conf": "is_host=1",
    }  # fmt: skip
    config = parse(TrainConfig, own, command="train", description="", positional=("recipe",))
    assert config.global_batch_size == 512


def test_the_embedding_commands_parse() -> None:
    script = re.sub(r"\\\n", " ", (DEPLOY / "slurm/embed.sbatch").read_text())
    found = re.search(r"llave embed (.*)", script)
    job = yaml.safe_load((DEPLOY / "kuberay/embed.yaml").read_text())
    assert found is not None
    words = shlex.split(found[1].replace('"$@"', "nano photos --out vectors").replace('"$gpus"', "32"))
    for line in (words, shlex.split(job["spec"]["entrypoint"])[2:]):
        config = parse(EmbedConfig, line, command="embed", description="", positional=("model", "input"))
        assert config.engine == "ray"
        assert config.gpus_per_worker == 1


def test_the_rayjob_hangs_together() -> None:
    """Every mounted volume is there, each actor fits a worker, and the pool can grow to what the command asks for."""
    cluster = yaml.safe_load((DEPLOY / "kuberay/embed.yaml").read_text())["spec"]["rayClusterSpec"]
    groups: list[dict[str, Any]] = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"] == 64
    (container,) = workers["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
