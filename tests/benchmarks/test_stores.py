"""The table of one index in three stores, from what was measured."""

import json

import pytest

from benchmarks.pages import RESULTS
from benchmarks.stores import stores_sheet


def test_each_store_has_its_line_and_finds_enough() -> None:
    found = json.loads((RESULTS / "stores.json").read_text("utf-8"))
    table = stores_sheet(found)
    for rows, size in found["sizes"].items():
        assert f"{int(rows):,} rows" in table
        for name, store in size["stores"].items():
            last = list(store["settings"].values())[-1]
            assert min(last["all"]["recall"], last["tenth"]["recall"]) >= 0.99, name
            assert f"| {name} ({store['version']})" in table
            if store["exact"] is not None:
                assert store["exact"]["all"]["recall"] == pytest.approx(1)
