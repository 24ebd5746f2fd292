"""What leaves the repository: the source archive, the wheel, the container's recipe, the workflow."""

import os
import re
import shutil
import site
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from llave._version import __version__

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive of what git tracks or would, and the wheel that is built from it, page included."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    words = [sys.executable, "-m", "build", "--outdir", str(out), str(source)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out


@pytest.mark.slow
def test_the_source_archive_holds_what_builds_it(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "setup.py", "LICENSE", "README.md", "web/build.py", "web/package-lock.json"} <= names
    assert not [name for name in names if "node_modules" in name or name.startswith(("runs", "data/"))]


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_environment(dist: Path, tmp_path: Path) -> None:
    """With the libraries of this one, and nothing of the repository."""
    wheel = next(dist.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]
    page = "llave/serving/static/index.html"
    assert page in names
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True)
    [packages] = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (packages / "libraries.pth").write_text(site.getsitepackages()[0] + "\n")
    outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def llave(*words: str) -> str:
        command = [python.parent / "llave", *words]
        done = subprocess.run(command, cwd=tmp_path, env=outside, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [python, "-c", "import llave; print(llave.__file__)"], cwd=tmp_path, env=outside, capture_output=True, text=True
    )
    assert where.stdout.startswith(str(packages))
    assert llave("--version") == f"llave {__version__}\n"
    assert "page built" in llave("doctor")
    assert "layer.3." in llave("train", "nano", "--print_config")
    assert "mmeb-v2" in llave("list")
    assert "llave-7b" in llave("eval", "presets")


def test_the_containerfile_is_sound() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, ROOT / "Containerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    left_out = (ROOT / ".dockerignore").read_text().split()
    copied = re.findall(r"^COPY (?!--from)(\S+)", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    assert all(path == "." or ((ROOT / path).exists() and path not in left_out) for path in copied)


def test_the_workflow_runs_what_the_makefile_has() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    targets = {target for command in commands for target in re.findall(r"make (\w+)", command)}
    assert targets == {"test", "dist"}
    assert all(re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE) for target in targets)
    oldest = workflow["jobs"]["test"]["strategy"]["matrix"]["python"][0]
    assert f'requires-python = ">={oldest}"' in (ROOT / "pyproject.toml").read_text()


def test_the_citation_names_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == __version__
    assert {"cff-version", "message", "title", "authors", "type"} <= set(cited)
