"""Items without a query: in order, filtered, page by page, and in the address."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect
from sentence_transformers import SentenceTransformer

from llave.collection.folder import FolderCollection
from llave.encode.cache import model_fingerprint
from llave.search.index import Index
from llave.search.info import IndexInfo
from llave.search.options import BuildOptions
from llave.search.update import update_index
from llave.serving.app import AppOptions
from llave.serving.engine import Engine
from tests.serving.page.conftest import PHONE, Visit
from tests.serving.page.visitor import Visitor
from tests.serving.running import encoded, running
from tests.shapes import draw

pytestmark = pytest.mark.browser


def test_the_page_opens_with_items_and_shows_more(visitor: Visitor) -> None:
    visitor.go().settle()
    expect(visitor.page.get_by_role("list", name="Examples")).to_be_visible()
    expect(visitor.status).to_have_text("24 of 69 items")
    for shown in (48, 69):
        visitor.page.get_by_role("button", name="Load more").click()
        expect(visitor.cards).to_have_count(shown)
    expect(visitor.page.get_by_role("button", name="Load more")).to_have_count(0)
    assert [body["offset"] for body in visitor.listings] == [0, 24, 48]
    assert len(set(visitor.cards.evaluate_all("(all) => all.map((card) => card.innerHTML)"))) == 69
    assert visitor.searches == []
    expect(visitor.cards.locator(".card-score")).to_have_count(0)


def test_items_are_sorted_and_the_order_is_in_the_address(visitor: Visitor) -> None:
    visitor.go().settle()
    by = visitor.page.get_by_label("Sort by")
    by.select_option("size")
    expect(visitor.page.get_by_role("button", name="lowest first")).to_be_visible()
    visitor.settle()
    assert visitor.listings[-1]["sort"] == "size"
    visitor.page.get_by_role("button", name="lowest first").click()
    visitor.settle()
    assert visitor.page.url.endswith("#sort=-size")
    visitor.page.reload()
    visitor.settle()
    expect(by).to_have_value("size")
    assert visitor.listings[-1]["sort"] == "-size"
    visitor.page.go_back()
    expect(visitor.page.get_by_role("button", name="lowest first")).to_be_visible()
    # A query has an order of its own; without it the chosen one is back.
    visitor.search("a red bar")
    expect(by).to_have_count(0)
    assert "sort" not in visitor.searches[-1]
    visitor.box.press("Escape")
    expect(by).to_have_value("size")


def test_filters_apply_without_a_query(visitor: Visitor) -> None:
    visitor.go().settle()
    filters = visitor.page.get_by_role("complementary", name="Filters")
    filters.get_by_role("checkbox", name="circle").check()
    expect(visitor.status).to_have_text("16 of 16 items")
    expect(visitor.page.get_by_role("list", name="Examples")).to_have_count(0)
    filters.get_by_label("size, at least").fill("100")
    filters.get_by_label("size, at least").press("Enter")
    expect(visitor.status).to_have_text("4 of 4 items")
    assert sorted(visitor.titles()) == [f"a {colour} circle" for colour in ("blue", "green", "red", "yellow")]
    visitor.page.reload()
    expect(visitor.status).to_have_text("4 of 4 items")
    visitor.page.get_by_role("button", name="Clear all").click()
    expect(visitor.page.get_by_role("list", name="Examples")).to_be_visible()


def test_days_and_words_bound_what_is_listed(visitor: Visitor) -> None:
    visitor.go().settle()
    filters = visitor.page.get_by_role("complementary", name="Filters")
    filters.get_by_label("drawn, from").fill("2013-01-01")
    filters.get_by_label("drawn, to").fill("2014-12-31")
    expect(visitor.status).to_have_text("16 of 16 items")
    assert visitor.listings[-1]["filter"] == {"drawn": {">=": "2013-01-01", "<=": "2014-12-31"}}
    visitor.page.get_by_label("Sort by").select_option("drawn")
    visitor.settle()
    expect(visitor.page.get_by_role("button", name="newest first")).to_be_visible()
    assert visitor.listings[-1]["sort"] == "-drawn"
    visitor.page.go_back()
    visitor.page.get_by_role("button", name="Remove drawn").click()
    expect(visitor.status).to_have_text("24 of 69 items")


def test_browsing_by_keyboard(visitor: Visitor) -> None:
    page = visitor.go().page
    visitor.settle()
    page.keyboard.press("/")
    page.keyboard.press("ArrowDown")
    first = visitor.cards.first.locator(".card-open")
    expect(first).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="A to Z")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Z to A")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_label("Sort by")).to_be_focused()


@pytest.mark.problems("400")
def test_an_order_that_there_is_not_names_those_that_there_are(visitor: Visitor) -> None:
    visitor.go("#sort=-nonsense")
    expect(visitor.page.get_by_role("alert")).to_contain_text("nonsense")
    expect(visitor.page.get_by_role("alert")).to_contain_text("colour")
    visitor.page.get_by_label("Sort by").select_option("key")
    expect(visitor.cards).to_have_count(24)


def test_on_a_phone(visit: Visit, site: str) -> None:
    visitor = visit(site, **PHONE).go()
    visitor.settle()
    assert not visitor.scrolls_sideways()
    visitor.page.get_by_label("Sort by").select_option("shape")
    visitor.settle()
    visitor.page.get_by_role("button", name="A to Z").tap()
    visitor.settle()
    assert visitor.listings[-1]["sort"] == "-shape"
    assert not visitor.scrolls_sideways()


def test_the_page_follows_the_index(
    visit: Visit, engine: Engine, nano_untouched: SentenceTransformer, tmp_path: Path
) -> None:
    things, path = tmp_path / "things", tmp_path / "index"
    things.mkdir()

    def make(index: Index, *shapes: str) -> None:
        rows = [{"file_name": f"{shape}.png", "shape": shape} for shape in shapes]
        for shape in shapes:
            (things / f"{shape}.png").write_bytes(encoded(draw("red", shape)))
        (things / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        update_index(index, nano_untouched, FolderCollection(things), things, BuildOptions(progress=False))

    info = IndexInfo(model="nano", fingerprint=model_fingerprint(nano_untouched), dimension=384)
    make(Index.create(path, info), "circle", "bar")
    with running(engine, AppOptions(index=Index.open(path))) as server:
        visitor = visit(server.url).go()
        filters = visitor.page.get_by_role("complementary", name="Filters")
        expect(visitor.status).to_have_text("2 of 2 items")
        expect(filters).not_to_contain_text("square")
        version = server.client.get("/v1/index").json()["version"]
        make(Index.open(path), "circle", "bar", "square")
        while server.client.get("/v1/index").json()["version"] == version:
            visitor.page.wait_for_timeout(50)
        visitor.page.get_by_role("button", name="A to Z").click()
        expect(visitor.status).to_have_text("3 of 3 items")
        expect(visitor.page.get_by_role("heading", name="Search 3 pictures by meaning")).to_be_visible()
        expect(filters).to_contain_text("square")
