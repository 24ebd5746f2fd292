"""Every table of a committed measurement is what its file says."""

from pathlib import Path

import pytest

from benchmarks.pages import PLACES, ROOT, Place, content, rewrite, shown


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place.page}: {place.name}")
def test_a_page_shows_what_was_measured(place: Place) -> None:
    assert shown(ROOT / place.page, place.name).strip() == place.render(content(place.source)).strip()


def test_a_place_in_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before <!-- a --> old <!-- /a --> after\n")
    rewrite(page, "a", "new")
    assert page.read_text() == "before <!-- a -->\nnew\n<!-- /a --> after\n"
    with pytest.raises(ValueError, match="no place <!-- b -->"):
        shown(page, "b")
