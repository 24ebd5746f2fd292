"""Items without a query: in order, filtered, page by page, and in the address."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect
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


def places(visitor: Visitor) -> list[int]:
    """Of the cards that are there, from 1."""
    return [int(place) for place in visitor.cards.evaluate_all("(all) => all.map((card) => card.ariaPosInSet)")]


def test_the_page_opens_with_items_and_goes_on_as_one_scrolls(visitor: Visitor) -> None:
    visitor.go().settle()
    expect(visitor.page.get_by_role("list", name="Examples")).to_be_visible()
    expect(visitor.status).to_have_text("69 items")
    height = visitor.page.evaluate("document.body.scrollHeight")
    expect(visitor.cards).to_have_count(60)
    visitor.page.mouse.wheel(0, 2000)
    expect(visitor.cards).to_have_count(69)
    assert [body["offset"] for body in visitor.listings] == [0, 60]
    assert places(visitor) == list(range(1, 70))
    assert len(set(visitor.cards.evaluate_all("(all) => all.map((card) => card.innerHTML)"))) == 69
    assert visitor.page.evaluate("document.body.scrollHeight") == height  # it was as long before
    assert visitor.searches == []
    expect(visitor.cards.locator(".card-score")).to_have_count(0)


def test_of_many_items_a_few_are_there_at_a_time(visitor: Visitor) -> None:
    """A long index, of which the server's answers are repeated: one scrolls, leaps and goes on by keyboard."""

    def multiplied(route: Route) -> None:
        asked = route.request.post_data_json
        items = route.fetch(post_data=json.dumps({**asked, "offset": 0, "limit": 60})).json()
        hits = [{**hit, "id": f"{asked['offset'] + place:032}"} for place, hit in enumerate(items["results"])]
        route.fulfill(json={**items, "count": 6000, "results": hits[: asked["limit"]]})

    page = visitor.page
    page.route("**/v1/search", multiplied)
    visitor.go().settle()
    expect(visitor.status).to_have_text("6,000 items")
    for _ in range(12):
        page.mouse.wheel(0, 1500)
        page.wait_for_timeout(150)
    assert visitor.cards.count() <= 300
    there = places(visitor)
    assert there == list(range(there[0], there[0] + len(there)))
    assert there[0] > 1
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    last = visitor.page.locator(".card[aria-posinset='6000']")
    expect(last).to_be_visible()
    last.locator(".card-open").focus()
    page.keyboard.press("Home")
    expect(page.locator(".card[aria-posinset='1'] .card-open")).to_be_focused()
    page.keyboard.press("End")
    expect(last.locator(".card-open")).to_be_focused()
    # Where a card stands does not depend on what is there before it.
    columns = visitor.cards.evaluate_all("(all) => new Set(all.map((card) => card.offsetLeft)).size")
    lefts = visitor.cards.evaluate_all("(all) => all.map((card) => [Number(card.ariaPosInSet) - 1, card.offsetLeft])")
    assert all(len({left for place, left in lefts if place % columns == row}) == 1 for row in range(columns))


def test_random_is_shuffled_again_and_stays_in_the_address(visitor: Visitor) -> None:
    visitor.go().settle()
    visitor.page.get_by_label("Sort by").select_option("random")
    again = visitor.page.get_by_role("button", name="shuffle again")
    expect(again).to_be_visible()
    visitor.settle()
    first, seed = visitor.titles(), visitor.listings[-1]["seed"]
    visitor.page.reload()
    visitor.settle()
    assert visitor.listings[-1]["seed"] == seed
    assert visitor.titles() == first
    again.click()
    visitor.settle()
    assert visitor.listings[-1]["seed"] != seed


def test_folders_are_a_tree_that_filters(visitor: Visitor) -> None:
    visitor.go().settle()
    folder = visitor.page.get_by_role("button", name="drawn 64")
    folder.click()
    expect(visitor.status).to_have_text("64 items")
    expect(visitor.chips.first).to_have_text("folder: drawn")
    visitor.page.get_by_role("complementary", name="Filters").get_by_role("checkbox", name="red").check()
    expect(visitor.status).to_have_text("16 items")
    visitor.page.reload()
    expect(folder).to_have_attribute("aria-pressed", "true")
    folder.click()
    expect(visitor.status).to_have_text("16 items")
    expect(visitor.chips).to_have_text(["colour: red"])


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
    expect(by).to_have_value("field size")
    assert visitor.listings[-1]["sort"] == "-size"
    visitor.page.go_back()
    expect(visitor.page.get_by_role("button", name="lowest first")).to_be_visible()
    # A query has an order of its own; without it the chosen one is back.
    visitor.search("a red bar")
    expect(by).to_have_value("score")
    assert "sort" not in visitor.searches[-1]
    visitor.box.press("Escape")
    expect(by).to_have_value("field size")


def test_filters_apply_without_a_query(visitor: Visitor) -> None:
    visitor.go().settle()
    filters = visitor.page.get_by_role("complementary", name="Filters")
    filters.get_by_role("checkbox", name="circle").check()
    expect(visitor.status).to_have_text("16 items")
    expect(visitor.page.get_by_role("list", name="Examples")).to_have_count(0)
    filters.get_by_label("size, at least").fill("100")
    filters.get_by_label("size, at least").press("Enter")
    expect(visitor.status).to_have_text("4 items")
    assert sorted(visitor.titles()) == [f"a {colour} circle" for colour in ("blue", "green", "red", "yellow")]
    visitor.page.reload()
    expect(visitor.status).to_have_text("4 items")
    visitor.page.get_by_role("button", name="Clear all").click()
    expect(visitor.page.get_by_role("list", name="Examples")).to_be_visible()


def test_days_and_words_bound_what_is_listed(visitor: Visitor) -> None:
    visitor.go().settle()
    filters = visitor.page.get_by_role("complementary", name="Filters")
    filters.get_by_label("drawn, from").fill("2013-01-01")
    filters.get_by_label("drawn, to").fill("2014-12-31")
    expect(visitor.status).to_have_text("16 items")
    assert visitor.listings[-1]["filter"] == {"drawn": {">=": "2013-01-01", "<=": "2014-12-31"}}
    visitor.page.get_by_label("Sort by").select_option("drawn")
    visitor.settle()
    expect(visitor.page.get_by_role("button", name="newest first")).to_be_visible()
    assert visitor.listings[-1]["sort"] == "-drawn"
    visitor.page.go_back()
    visitor.page.get_by_role("button", name="Remove drawn").click()
    expect(visitor.status).to_have_text("69 items")


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
    expect(visitor.cards).to_have_count(60)


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
        expect(visitor.status).to_have_text("2 items")
        expect(filters).not_to_contain_text("square")
        version = server.client.get("/v1/index").json()["version"]
        make(Index.open(path), "circle", "bar", "square")
        while server.client.get("/v1/index").json()["version"] == version:
            visitor.page.wait_for_timeout(50)
        visitor.page.get_by_role("button", name="A to Z").click()
        expect(visitor.status).to_have_text("3 items")
        expect(visitor.page.get_by_role("heading", name="Search 3 pictures by meaning")).to_be_visible()
        expect(filters).to_contain_text("square")
