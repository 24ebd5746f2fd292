"""How costs grow: every part runs, and slopes are what they should be."""

from pathlib import Path

import pytest

from benchmarks.growth import draw_growth, growth_sheet, measure_growth, slope
from benchmarks.growth_parts import PARTS


def test_slopes() -> None:
    assert slope([1, 10, 100], [3, 30, 300]) == pytest.approx(1)
    assert slope([2, 4], [5, 20]) == pytest.approx(2)


@pytest.mark.slow
def test_every_part_runs(tmp_path: Path) -> None:
    found = measure_growth(tmp_path, [100, 200], [8, 16])
    assert set(found["parts"]) == set(PARTS)
    assert [each["rows"] for each in found["parts"]["again"]] == [100, 200]
    content = {"machine": "a machine", "commit": "0" * 40, **found}
    assert growth_sheet(content).markdown().count("\n| ") == len(PARTS) + 1
    draw_growth(content, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 10_000
