"""``llave mteb`` on local data; names of mteb's own tasks go as far as they go without a network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llave.cli.main import main
from tests.shapes import make_folder


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("shapes"))


def test_a_local_folder_as_llave_eval_scores_it(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["nano", str(shapes), "--out", str(tmp_path), "--device", "cpu"]
    assert main(["mteb", *command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["eval", "nano", "--benchmark", str(shapes), "--device", "cpu", "--json"]) == 0
    own = json.loads(capsys.readouterr().out)["datasets"]
    assert {name: score["score"] for name, score in found.items()} == {
        f"{shapes.name}-{name}": pytest.approx(result["p_at_1"]) for name, result in own.items()
    }
    assert len(list(tmp_path.glob("results/local__nano/*/*.json"))) == len(found) + 1  # and the model's metadata
    assert main(["mteb", *command]) == 0
    shown = capsys.readouterr().out
    assert "hit_rate_at_1" in shown
    assert f"{shapes.name}-t2i" in shown


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ("STL10ZeroShott", "no task or benchmark 'STL10ZeroShott'; alike: STL10ZeroShot"),
        ("STL10ZeroShot, MIEB(lit)", "no task or benchmark 'MIEB(lit)'; alike: MIEB(lite)"),
        ("MAEB(v1)", "left out 30 of 30 tasks: the model takes no audio, only text, image, video: "),
        ("nowhere/at/all", "no task or benchmark 'nowhere/at/all'; alike: see `mteb available-tasks`"),
    ],
)
def test_tasks_that_cannot_run(tasks: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mteb", "nano", tasks, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_without_mteb_it_says_how_to_get_it() -> None:
    script = (
        "import sys; sys.modules['mteb'] = None\n"
        "from llave.cli.main import main\n"
        "sys.exit(main(['mteb', 'nano', 'STL10ZeroShot', '--out', 'nowhere']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "llave: mteb is not installed: pip install 'llave[eval]'\n")


@pytest.mark.slow
def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "llave.cli.main", "mteb", "nano", "STL10ZeroShot", "--out", str(tmp_path)]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=offline)
    assert done.returncode == 2, done.stderr
    assert "llave: cannot get the data of a task: Couldn't reach 'mteb/stl10'" in done.stderr
    assert "Traceback" not in done.stderr
