"""A run whose output is in object storage: stopped, and gone on with on a machine that has nothing of it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil
import pytest
from safetensors.torch import load_file

from llave import load_model
from llave.cli.main import main
from llave.data.cache import cache_directory
from llave.storage.lease import LOST, RENEW
from llave.storage.location import ObjectPath
from llave.storage.locks import alone
from llave.training.mirror import Mirror, mirrored
from tests.models.tiny_backbones import build
from tests.shapes import make_folder
from tests.storage.server import new_bucket


@pytest.fixture
def output() -> Iterator[ObjectPath]:
    with new_bucket() as bucket:
        yield ObjectPath.parse(f"{bucket}/runs/mine")


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def names(output: ObjectPath) -> set[str]:
    return {found.key for found in output.files()}


def test_the_bucket_has_the_run(output: ObjectPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = (Mirror(output, tmp_path / name / "mine", tmp_path / name / "record.json") for name in "ab")
    for number in (2, 4):
        write(here.folder, f"checkpoints/checkpoint-{number}/model.safetensors", f"weights {number}")
        write(here.folder, f"checkpoints/checkpoint-{number}/trainer_state.json", "{}")
    write(here.folder, "run.json", "as begun")
    here.push()
    (output / "checkpoints/checkpoint-6/model.safetensors").write_bytes(b"of an upload that was cut off")
    there.fetch()
    assert (there.folder / "checkpoints/checkpoint-4/model.safetensors").read_text() == "weights 4"
    assert {path.name for path in (there.folder / "checkpoints").iterdir() if any(path.iterdir())} == {"checkpoint-4"}
    write(there.folder, "run.json", "as ended")
    there.push()
    assert names(output) == {
        "run.json", "checkpoints/checkpoint-4/model.safetensors", "checkpoints/checkpoint-4/trainer_state.json",
    }  # fmt: skip
    read: list[str] = []
    copy = ObjectPath.copy_to
    monkeypatch.setattr(ObjectPath, "copy_to", lambda self, file: (read.append(self.name), copy(self, file))[1])
    here.fetch()
    assert read == ["run.json"]  # what it had uploaded itself it has
    assert (here.folder / "run.json").read_text() == "as ended"
    here.forget()
    there.fetch()
    assert not [path for path in there.folder.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_another_machine_goes_on_to_the_same_model(
    output: ObjectPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(tmp_path / "data")
    words = ["train", "--data", str(tmp_path / "data"), "--batch_size", "8", "--max_steps", "4", "--save_steps", "2"]
    assert main([*words, "--output", str(tmp_path / "whole")]) == 0
    push = Mirror.push

    def stopped(self: Mirror) -> None:
        push(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Mirror, "push", stopped)
        assert main([*words, "--output", str(output)]) == 130
    assert "checkpoints/checkpoint-2/trainer_state.json" in names(output)
    assert "model.safetensors" not in names(output)
    shutil.rmtree(cache_directory() / "runs")
    with alone(output):
        assert main([*words, "--output", str(output)]) == 2
    assert "another process writes there" in capsys.readouterr().err
    assert main([*words, "--output", str(output)]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == str(output)
    assert "going on from" in told.err
    trained = load_model(str(output), device="cpu").state_dict()
    whole = load_model(tmp_path / "whole", device="cpu").state_dict()
    assert all((trained[name] == whole[name]).all() for name in whole)
    with mirrored(output) as mirror:
        assert (mirror.folder / "README.md").is_file()


MACHINE = """import os, sys
os.environ |= {"LLAVE_CACHE": os.path.join(os.environ["CACHES"], os.environ["RANK"]), "LOCAL_RANK": "0"}
from llave.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def machines(work: Path, output: str) -> "subprocess.Popen[str]":
    """Two processes under torchrun that know nothing of each other's disk."""
    (work / "machine.py").write_text(MACHINE)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(work / "machine.py")]
    words = [
        "train", "--data", str(work / "data"), "--model", str(work / "llava_onevision"), "--output", output,
        "--batch_size", "4", "--max_steps", "6", "--save_steps", "2", "--learning_rate", "1e-3", "--sharding", "fsdp",
        "--loss.mini_batch_size", "3",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CACHES": str(work / "caches")}
    return subprocess.Popen([sys.executable, *launcher, *words], env=environment, stderr=subprocess.PIPE, text=True)


def ended(process: "subprocess.Popen[str]") -> str:
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:]
    return said


@pytest.mark.slow
def test_parts_of_two_machines(output: ObjectPath, tmp_path: Path) -> None:
    """FSDP: each machine has its own folder and uploads its own parts; two others go on with all of them."""
    make_folder(tmp_path / "data")
    build("llava_onevision", tmp_path)
    ended(machines(tmp_path, str(tmp_path / "whole")))
    killed = machines(tmp_path, str(output))
    while not any(name.startswith("checkpoints/checkpoint-4/trainer_state") for name in names(output)):
        assert killed.poll() is None, killed.communicate()[1][-3000:]
        time.sleep(0.1)
    launcher = psutil.Process(killed.pid)
    for each in (*launcher.children(recursive=True), launcher):
        each.kill()
    killed.communicate()
    there = {PurePosixPath(name).name for name in names(output) if name.startswith("checkpoints/checkpoint-4/")}
    assert {"__0_0.distcp", "__1_0.distcp", "rng_state_0.pth", "rng_state_1.pth"} <= there
    shutil.rmtree(tmp_path / "caches")
    time.sleep(LOST + RENEW)  # until the lease of who was killed has run out
    assert "going on from" in ended(machines(tmp_path, str(output)))
    with (tmp_path / "trained.safetensors").open("wb") as file:
        (output / "model.safetensors").copy_to(file)
    trained, whole = load_file(tmp_path / "trained.safetensors"), load_file(tmp_path / "whole" / "model.safetensors")
    assert max(float((trained[key] - whole[key]).abs().max()) for key in whole) == 0
