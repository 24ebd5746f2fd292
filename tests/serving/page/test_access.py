"""The page where a key is wanted, where there is no index, on a phone, in the dark, and to assistive technology."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Page, Route, expect

from tests.serving.page.conftest import AXE, PHONE, Visit
from tests.serving.page.things import EVIL_NAME, KEY
from tests.serving.page.visitor import Visitor
from tests.serving.running import encoded
from tests.shapes import draw

pytestmark = pytest.mark.browser


@pytest.mark.problems("401")
def test_a_key_is_asked_for_and_pictures_load_with_it(visit: Visit, locked_site: str) -> None:
    visitor = visit(locked_site).go()
    prompt = visitor.page.get_by_role("dialog", name="API key")
    prompt.get_by_label("API key").fill("a-wrong-key-of-length")
    prompt.get_by_role("button", name="Continue").click()
    expect(prompt.get_by_role("alert")).to_contain_text("not accepted")
    prompt.get_by_label("API key").fill(KEY)
    visitor.page.keyboard.press("Enter")
    expect(prompt).to_have_count(0)
    visitor.search("a red circle")
    picture = visitor.cards.locator("img").first
    expect(picture).to_have_attribute("src", re.compile(f"^blob:{re.escape(locked_site)}/"))
    assert picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    visitor.page.reload()  # the tab keeps the key
    expect(visitor.cards.first).to_be_visible()


@pytest.mark.problems("401")
def test_giving_up_on_the_key_leaves_a_message(visit: Visit, locked_site: str) -> None:
    visitor = visit(locked_site).go()
    visitor.page.get_by_role("dialog", name="API key").get_by_role("button", name="Cancel").click()
    expect(visitor.page.get_by_role("alert")).to_contain_text("key")
    visitor.page.get_by_role("button", name="Try again").click()
    expect(visitor.page.get_by_role("dialog", name="API key")).to_be_visible()


@pytest.mark.problems("404")
def test_without_an_index_texts_and_pictures_are_compared(visit: Visit, bare_site: str, things: Path) -> None:
    visitor = visit(bare_site).go()
    table = visitor.page.get_by_role("table")
    expect(table.get_by_role("row")).to_have_count(4)
    visitor.page.get_by_label("A text to add").fill("a red apple")
    visitor.page.keyboard.press("Enter")
    expect(table.get_by_role("row")).to_have_count(5)
    expect(table.get_by_role("row").nth(4).get_by_role("cell").first).to_have_text("1.000")
    visitor.drop(things / "drawn" / "red_circle_96.png")
    expect(table.get_by_role("row").last.get_by_role("img", name="red_circle_96.png")).to_be_visible()
    visitor.page.get_by_role("button", name="Remove red_circle_96.png").click()
    expect(table.get_by_role("row")).to_have_count(5)


@pytest.mark.problems("ERR_INTERNET_DISCONNECTED")
def test_offline_is_said_and_mended(visitor: Visitor) -> None:
    visitor.go().page.context.set_offline(True)
    visitor.box.fill("a red circle")
    expect(visitor.page.get_by_role("alert")).to_contain_text("This device is offline.")
    expect(visitor.page.get_by_role("button", name="Try again")).to_be_visible()
    visitor.page.context.set_offline(False)
    # At once: the page asks by itself, too, and the button may go before a pointer is there.
    visitor.page.evaluate("document.querySelector('[role=alert] button')?.click()")
    expect(visitor.cards.first).to_be_visible()


def test_dark_follows_the_system_until_one_chooses(visit: Visit, site: str) -> None:
    visitor = visit(site, color_scheme="dark").go()
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    assert visitor.page.evaluate(ground) == "rgb(16, 18, 22)"
    visitor.page.get_by_role("button", name="Light theme").click()
    assert visitor.page.evaluate(ground) == "rgb(255, 255, 255)"
    visitor.page.reload()
    expect(visitor.page.get_by_role("button", name="Dark theme")).to_be_visible()


def test_what_is_transparent_has_a_light_ground_in_the_dark(visit: Visit, site: str) -> None:
    """A black drawing on nothing is seen; an opaque picture gets no ground that would frame it."""
    glyph = Image.new("RGBA", (96, 96))
    glyph.paste((0, 0, 0, 255), (40, 40, 56, 56))
    visitor = visit(site, color_scheme="dark")
    served = iter([encoded(glyph)])

    def first(route: Route) -> None:
        body = next(served, None)
        route.continue_() if body is None else route.fulfill(body=body, content_type="image/png")

    visitor.page.route("**/thumbnail?*", first)
    visitor.go('#f={"kind":["image"]}').settle()
    expect(visitor.page.locator("img[data-clear]")).to_have_count(1)
    picture = visitor.page.locator("img[data-clear]")
    picture.scroll_into_view_if_needed()
    shown = Image.open(io.BytesIO(picture.screenshot())).convert("L")
    width, height = shown.size
    assert shown.getpixel((width // 2, height // 2)) < 40
    corner = shown.getpixel((width // 4, height // 4))
    assert isinstance(corner, int)
    assert corner > 180


@pytest.mark.parametrize("hash", ["", "#q=a+red+circle", "#view=map&q=a+red+circle", "#view=compare"])
def test_a_phone_does_not_scroll_sideways(visit: Visit, site: str, hash: str) -> None:
    visitor = visit(site, **PHONE).go(hash)
    visitor.page.locator(".card, .matrix-self").first.wait_for()
    assert not visitor.scrolls_sideways()


def test_filters_and_details_on_a_phone(visit: Visit, site: str) -> None:
    visitor = visit(site, **PHONE).go("#q=a+red+circle")
    visitor.page.get_by_role("button", name="Filters").tap()
    visitor.page.get_by_role("checkbox", name="<b>green</b>").tap()
    expect(visitor.status).to_contain_text("1 item")
    visitor.cards.first.locator(".card-open").tap()
    expect(visitor.page.get_by_role("dialog", name=EVIL_NAME)).to_be_visible()
    assert not visitor.scrolls_sideways()


def _at_results(page: Page) -> None:
    page.get_by_role("list", name="Results").locator(".card").first.wait_for()


def _at_dialog(page: Page) -> None:
    _at_results(page)
    page.locator(".card-open").first.click()
    page.locator(".near-item img").first.wait_for()


def _at_both(page: Page) -> None:
    _at_results(page)
    picture: FilePayload = {"name": "red.png", "mimeType": "image/png", "buffer": encoded(draw("red", "circle"))}
    page.get_by_label("Search with a picture").set_input_files(picture)
    page.get_by_role("radio", name="Mixed").check()


def _at_choice(page: Page) -> None:
    _at_results(page)
    page.locator(".card-open").first.click(modifiers=["Control"])
    page.get_by_role("toolbar", name="Chosen items").wait_for()


def _at_range(page: Page) -> None:
    _at_results(page)
    page.get_by_label("Colour by").select_option("size")
    page.get_by_role("slider", name="size, from").wait_for()


SCENES: dict[str, tuple[str, dict[str, Any], Callable[[Page], None] | None]] = {
    "browse": ("", {}, _at_results),
    "browse dark phone": ("#sort=-size", {**PHONE, "color_scheme": "dark"}, _at_results),
    "light": ("#q=a+red+circle", {}, _at_both),
    "dark": ("#q=a+red+circle", {"color_scheme": "dark"}, _at_both),
    "dialog": ("#q=a+red+circle", {}, _at_dialog),
    "choice": ("", {}, _at_choice),
    "choice dark phone": ("#q=a+red+circle", {**PHONE, "color_scheme": "dark"}, _at_choice),
    "range dark": ("#view=map", {"color_scheme": "dark"}, _at_range),
    "map": ("#view=map&q=a+red+circle", {}, _at_results),
    "compare": ("#view=compare", {"color_scheme": "dark"}, None),
    "phone": ("#q=a+red+circle", PHONE, _at_results),
}


@pytest.mark.parametrize("scene", SCENES)
def test_axe_finds_no_serious_violation(visit: Visit, site: str, scene: str) -> None:
    hash, options, get_there = SCENES[scene]
    # Only axe itself needs the bypass; that the page needs none is what every other test shows.
    visitor = visit(site, bypass_csp=True, reduced_motion="reduce", **options).go(hash)
    visitor.page.locator(".card, .matrix-self").first.wait_for()
    if get_there:
        get_there(visitor.page)
    visitor.page.wait_for_load_state("networkidle")
    visitor.page.evaluate(AXE.read_text())
    found = visitor.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    serious = [
        {"id": one["id"], "nodes": [node["html"] for node in one["nodes"]]}
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert not serious, json.dumps(serious, indent=1)
