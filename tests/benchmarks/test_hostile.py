"""The table of attacks in docs/serving.md is that of the committed measurement."""

import json
from pathlib import Path

from benchmarks.hostile.attacks import ATTACKS
from benchmarks.hostile.siege import INDEX_GOES
from benchmarks.hostile.table import hostile_sheet

ROOT = Path(__file__).parents[2]


def test_the_page_shows_what_was_measured() -> None:
    report = json.loads((ROOT / "benchmarks" / "results" / "hostile.json").read_text())
    assert {"command", "commit", "machine"} <= report.keys()
    assert [outcome["attack"] for outcome in report["attacks"]] == [*ATTACKS, INDEX_GOES]
    page = (ROOT / "docs" / "serving.md").read_text()
    table = page.split("<!-- hostile -->")[1].split("<!-- /hostile -->")[0]
    assert table.strip() == hostile_sheet(report).markdown().strip()
