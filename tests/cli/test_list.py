"""``llave list`` and ``llave completion``."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from llave.cli.main import COMMANDS, main
from tests.shapes import make_folder


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["list", *words]) == 0
    return capsys.readouterr().out


def test_lists_what_comes_with_llave(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(listed(capsys, "--json"))
    assert found["benchmarks"]["mmeb"] == 36
    assert found["recipes"]["nano"] == "The nano model on the sample data"
    text = listed(capsys)
    assert all(word in text for word in ("mmeb-v2", "ablations/plateau", "llave_0_5b_lora"))


def test_tasks_are_shown_without_their_data(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = json.loads(listed(capsys, "mmeb-v2", "--root", str(tmp_path), "--json"))
    assert len(found) == 78
    assert all(task["missing"] for task in found)
    only = listed(capsys, "mmeb-v2", "--root", str(tmp_path), "--tasks", "moment_retrieval")
    assert "MomentSeeker" in only
    assert "0 of 3 data sets are on this machine; llave data download mmeb-v2 --out DIR" in only


def test_what_is_there_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data")
    table = next((folder / "eval").iterdir())
    shutil.copy(table, folder / "eval" / f"CIFAR-100{table.suffix}")
    shutil.copy(table, folder / "eval" / f"VOC2007{table.suffix}")
    found = json.loads(listed(capsys, "mmeb", "--root", str(folder), "--json"))
    assert [task["name"] for task in found if task["missing"] is None] == ["VOC2007"]  # MMEB has no CIFAR-100
    assert "1 of 36 data sets are on this machine" in listed(capsys, "mmeb", "--root", str(folder))


def test_an_unknown_benchmark_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "mmeb-4"]) == 2
    assert "no benchmark 'mmeb-4'; there are: mmeb, mmeb-v2" in capsys.readouterr().err


def completed(script: str, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    asked = " ".join(f"'{word}'" for word in words)
    line = f'{script}\nCOMP_WORDS=({asked}); COMP_CWORD={len(words) - 1}; _llave; printf "%s\\n" "${{COMPREPLY[@]}}"'
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout.split()


def test_bash_completes_commands_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion"]) == 0
    script = capsys.readouterr().out
    assert set(COMMANDS) < set(completed(script, "llave", ""))
    assert completed(script, "llave", "se") == ["search", "serve"]
    assert completed(script, "llave", "data", "")[:2] == ["sample", "download"]
    assert completed(script, "llave", "index", "check", "--sm") == ["--small"]
    assert completed(script, "llave", "index", "model", "photos", "--item_") == ["--item_prompt"]
    assert "--loss.alpha" in completed(script, "llave", "train", "nano", "--loss.")
    assert completed(script, "llave", "nothing", "--x") == []
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out == f"autoload -U +X bashcompinit && bashcompinit\n{script}"
