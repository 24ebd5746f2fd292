"""Choosing several items, by mouse and by keyboard, and taking them away."""

import csv
import io
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Download, Locator, expect
from sentence_transformers import SentenceTransformer

from llave import build_index
from llave.search.options import BuildOptions
from llave.serving.app import AppOptions
from llave.serving.engine import Engine
from tests.serving.page.conftest import PHONE, Visit
from tests.serving.page.things import KEY
from tests.serving.page.visitor import Visitor
from tests.serving.running import running

pytestmark = pytest.mark.browser


def bar_of(visitor: Visitor) -> Locator:
    return visitor.page.get_by_role("toolbar", name="Chosen items")


def chosen(visitor: Visitor) -> list[int]:
    """Places of the chosen cards, from 1."""
    places = visitor.page.locator(".card[data-chosen='true']").evaluate_all(
        "(all) => all.map((one) => one.ariaPosInSet)"
    )
    return [int(place) for place in places]


def saved(visitor: Visitor, name: str) -> bytes:
    with visitor.page.expect_download() as waited:
        bar_of(visitor).get_by_role("button", name=f"Save as {name}").click()
    download: Download = waited.value
    assert download.suggested_filename.startswith("llave-")
    return Path(download.path()).read_bytes()


def test_by_mouse(visitor: Visitor) -> None:
    visitor.go().settle()
    cards = visitor.cards.locator(".card-open")
    cards.nth(1).click(modifiers=["Control"])
    cards.nth(4).click(modifiers=["Shift"])
    assert chosen(visitor) == [2, 3, 4, 5]
    cards.nth(3).click(modifiers=["Control"])
    visitor.cards.nth(7).hover()
    visitor.cards.nth(7).get_by_role("checkbox").click()
    assert chosen(visitor) == [2, 3, 5, 8]
    expect(bar_of(visitor)).to_contain_text("4 chosen")
    expect(visitor.page.get_by_role("dialog")).to_have_count(0)
    bar_of(visitor).get_by_role("button", name="List").click()
    expect(visitor.cards).to_have_count(4)
    expect(visitor.chips).to_have_text(["4 items chosen"])
    bar_of(visitor).get_by_role("button", name="Choose none").click()
    expect(bar_of(visitor)).to_have_count(0)


def test_by_keyboard(visitor: Visitor) -> None:
    page = visitor.go().page
    visitor.settle()
    page.keyboard.press("/")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("x")
    assert chosen(visitor) == [1]
    page.keyboard.press("x")
    assert chosen(visitor) == []
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    columns = visitor.cards.evaluate_all("(all) => new Set(all.map((card) => card.offsetLeft)).size")
    assert chosen(visitor) == list(range(2, 4 + columns))
    page.keyboard.press("Control+a")
    expect(bar_of(visitor)).to_contain_text("69 chosen")
    page.keyboard.press("Escape")
    expect(bar_of(visitor)).to_have_count(0)


def test_all_that_the_filters_leave_is_saved(visitor: Visitor, things: Path) -> None:
    visitor.go('#f={"colour":["red"],"size":{">=":90}}').settle()
    visitor.cards.first.hover()
    visitor.cards.first.get_by_role("checkbox").click()
    bar_of(visitor).get_by_role("button", name="All 8").click()
    expect(bar_of(visitor)).to_contain_text("8 chosen")
    rows = list(csv.DictReader(io.StringIO(saved(visitor, "CSV").decode())))
    assert {row["colour"] for row in rows} == {"red"}
    assert {row["size"] for row in rows} == {"96", "160"}
    assert {row["id"] for row in json.loads(saved(visitor, "JSON"))} == {row["id"] for row in rows}
    with zipfile.ZipFile(io.BytesIO(saved(visitor, "Files"))) as archive:
        assert set(archive.namelist()) == {row["path"] for row in rows}
        for name in archive.namelist():
            assert archive.read(name) == (things / name).read_bytes()


def test_a_choice_outlives_the_query_and_says_what_has_no_file(visitor: Visitor, things: Path) -> None:
    visitor.go("#q=harbour").settle()
    visitor.page.get_by_role("radio", name="Words").check()
    expect(visitor.cards).to_have_count(1)
    visitor.cards.first.locator(".card-open").click(modifiers=["Control"])
    visitor.search("a red bar")
    expect(visitor.cards.first).to_contain_text("bar")
    visitor.cards.first.locator(".card-open").click(modifiers=["Control"])
    expect(bar_of(visitor)).to_contain_text("2 chosen")
    with zipfile.ZipFile(io.BytesIO(saved(visitor, "Files"))) as archive:
        assert "weather.txt: has no file" in archive.read("left_out.txt").decode()
        assert len(archive.namelist()) == 2
    expect(bar_of(visitor)).to_contain_text("1 item without a file")


@pytest.mark.problems("401")
def test_a_server_with_a_key(visit: Visit, locked_site: str) -> None:
    visitor = visit(locked_site).go()
    visitor.page.get_by_role("dialog", name="API key").get_by_label("API key").fill(KEY)
    visitor.page.keyboard.press("Enter")
    visitor.settle()
    visitor.cards.first.locator(".card-open").click(modifiers=["Control"])
    assert saved(visitor, "CSV").startswith(b'"id",')


def test_on_a_phone(visit: Visit, site: str) -> None:
    visitor = visit(site, **PHONE).go()
    visitor.settle()
    visitor.cards.first.get_by_role("checkbox").tap()
    expect(bar_of(visitor)).to_contain_text("1 chosen")
    assert not visitor.scrolls_sideways()


def test_the_dialog_opens_keeps_and_copies_the_file(visitor: Visitor, things: Path) -> None:
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.go('#f={"colour":["blue"],"shape":["bar"]}').settle()
    visitor.cards.first.locator(".card-open").click()
    dialog = visitor.page.get_by_role("dialog")
    path = dialog.locator(".path").inner_text()
    with visitor.page.expect_download() as waited:
        dialog.get_by_role("button", name="Download").click()
    assert Path(waited.value.path()).read_bytes() == (things / path).read_bytes()
    assert waited.value.suggested_filename == path.split("/")[-1]
    dialog.get_by_role("button", name="Copy path").click()
    expect(dialog).to_contain_text("Copied.")
    assert visitor.page.evaluate("navigator.clipboard.readText()") == path
    with visitor.page.expect_popup() as popup:
        dialog.get_by_role("link", name="Open original").click()
    assert popup.value.url.startswith(f"{visitor.url}/v1/items/")


def test_near_duplicates_are_listed(
    visit: Visit, engine: Engine, nano_untouched: SentenceTransformer, things: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "things"
    folder.mkdir()
    for name in ("red_bar_24", "blue_circle_160", "green_square_96"):
        shutil.copy(things / "drawn" / f"{name}.png", folder)
    shutil.copy(folder / "red_bar_24.png", folder / "the same.png")
    index, _ = build_index(tmp_path / "index", nano_untouched, folder, options=BuildOptions(progress=False))
    with running(engine, AppOptions(index=index)) as server:
        visitor = visit(server.url).go()
        visitor.cards.filter(has_text="red_bar_24.png").locator(".card-open").click()
        dialog = visitor.page.get_by_role("dialog")
        dialog.get_by_role("button", name="List 1 near duplicate").click()
        expect(dialog).to_have_count(0)
        expect(visitor.status).to_have_text("2 items")
        assert visitor.titles() == ["red_bar_24.png", "the same.png"]
