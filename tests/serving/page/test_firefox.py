"""The page in Firefox: browsing, searching, an item, a choice that is saved, and the map."""

import json
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.programs import program
from tests.serving.page.conftest import WEB

pytestmark = pytest.mark.browser
SOURCE = Path(__file__).with_name("firefox")


def test_the_main_path(site: str, tmp_path: Path) -> None:
    firefox = program("firefox-esr", "firefox")
    folder = tmp_path / "firefox"
    shutil.copytree(SOURCE, folder)
    npm, env = runpy.run_path(str(WEB / "build.py"))["find_npm"]()
    env = {**env, "HOME": str(tmp_path)}
    done = subprocess.run([*npm, "ci", "--no-audit", "--no-fund"], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    node = shutil.which("node", path=env["PATH"])
    assert node is not None
    walked = subprocess.run(
        [node, "walk.mjs", f"{site}/", firefox], cwd=folder, env=env, capture_output=True, text=True, timeout=240
    )
    assert walked.returncode == 0, walked.stderr[-2000:]
    seen = json.loads(walked.stdout.splitlines()[-1])
    assert seen["errors"] == []
    assert seen["items"] == "69 items"
    assert seen["scrolled"] == 69
    assert "It rains on the harbour" in seen["found"]
    assert seen["dialog"] == "weather.txt"
    assert seen["chosen"] == "1 chosen"
    assert seen["saved"].splitlines()[0].startswith('"id",')
    assert "weather.txt" in seen["saved"]
    assert seen["filtered"] == "16 items"
    assert "view=map" in seen["address"]
    assert "circle" in seen["address"]
