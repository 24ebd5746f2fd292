"""The tables of attacks in docs/serving.md are those of the committed measurements."""

import json
from pathlib import Path
from typing import Any

from benchmarks.hostile.attacks import ATTACKS
from benchmarks.hostile.siege import INDEX_GOES
from benchmarks.hostile.table import hostile_sheet, load_sheet

ROOT = Path(__file__).parents[2]


def measured(name: str) -> Any:
    report = json.loads((ROOT / "benchmarks" / "results" / name).read_text())
    assert {"command", "commit", "machine"} <= report.keys()
    return report


def shown(name: str) -> str:
    page = (ROOT / "docs" / "serving.md").read_text()
    return page.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0].strip()


def test_the_page_shows_every_attack() -> None:
    report = measured("hostile.json")
    assert [outcome["attack"] for outcome in report["attacks"]] == [*ATTACKS, INDEX_GOES]
    assert shown("hostile") == hostile_sheet(report).markdown().strip()


def test_the_page_shows_the_load() -> None:
    assert shown("load") == load_sheet(measured("serve_load_hostile.json")).markdown().strip()
