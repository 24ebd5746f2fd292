"""The snippets of the pages on Python, run one after the other as their reader would; the site, built strictly."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

import llave
from llave.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent


@pytest.fixture
def place(tmp_path: Path, nano_untouched: SentenceTransformer, picture: Callable[[int], Image.Image]) -> Path:
    """What the page says is there: a model, photos, a benchmark."""
    nano_untouched.save_pretrained(str(tmp_path / "model"))
    for folder in ("photos", "bench/eval", "bench/images"):
        (tmp_path / folder).mkdir(parents=True)
    for number, name in enumerate(("red", "blue", "green")):
        picture(number).save(tmp_path / "photos" / f"{name}.png")
        picture(number).save(tmp_path / "bench" / "images" / f"{name}.png")
    names = ["red.png", "blue.png", "green.png"]
    rows = [
        {"qry_text": f"the {name}", "qry_img_path": "", "tgt_text": ["", "", ""], "tgt_img_path": [name, *rest]}
        for name in names
        if (rest := [other for other in names if other != name])
    ]
    (tmp_path / "bench" / "eval" / "pairs.json").write_text(json.dumps(rows))
    return tmp_path


def read(page: str) -> dict[str, object]:
    """The names that a page's snippets leave behind."""
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text("utf-8"), re.DOTALL)
    assert len(snippets) >= 3
    names: dict[str, object] = {}
    for number, snippet in enumerate(snippets):
        exec(compile(snippet, f"{page}, snippet {number}", "exec"), names)
    return names


def test_the_page_on_python(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(place)
    names = read("python.md")
    printed = capsys.readouterr().out
    assert "(3, 384)" in printed
    assert "missing.png: cannot read (No such file or directory)" in printed
    assert names["result"].errors == []  # type: ignore[attr-defined]
    assert len(names["hits"]) == 3  # type: ignore[arg-type]


def test_the_page_for_those_who_come_from_elsewhere(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    names = read("coming_from.md")
    assert names["queries"].shape == (1, 384)  # type: ignore[attr-defined]
    assert names["trainer"].state.global_step == 1  # type: ignore[attr-defined]
    assert len(names["texts"]) == 2  # type: ignore[arg-type]


def test_the_site_has_no_broken_link(tmp_path: Path) -> None:
    """Pages, anchors and pictures; every page is in the navigation, and every command and public name has its place."""
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    commands = (tmp_path / "site" / "commands.html").read_text("utf-8")
    assert all(f'id="llave-{name}"' in commands for name in COMMANDS)
    assert 'id="llave-index-check"' in commands
    reference = (tmp_path / "site" / "reference.html").read_text("utf-8")
    assert all(f">{name}<" in reference for name in llave.__all__ if name != "__version__")
    first = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert not re.findall(r'(?:src|<link[^>]*href)="https?://', first)  # opening it asks nobody
