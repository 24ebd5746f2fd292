"""The page in a real browser: searching, filtering, looking closer."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.serving.page.things import EVIL_NAME, EVIL_TEXT
from tests.serving.page.visitor import Visitor, found_ids

pytestmark = pytest.mark.browser

TYPED = """(box, text) => {
  for (let end = 1; end <= text.length; end++) {
    box.value = text.slice(0, end);
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }
}"""
"""Letter by letter, and faster than any machine is slow."""


def test_a_typed_text_is_searched_once_and_stays_in_the_address(visitor: Visitor) -> None:
    visitor.go()
    expect(visitor.page.get_by_role("heading", name="Search 65 pictures and 4 texts by meaning")).to_be_visible()
    with visitor.answer():
        visitor.box.evaluate(TYPED, "Peel two onions and fry them in butter.")
    expect(visitor.cards.first).to_contain_text("Peel two onions")
    expect(visitor.status).to_contain_text("69 items")
    assert [body["text"] for body in visitor.searches] == ["Peel two onions and fry them in butter."]
    visitor.page.reload()
    expect(visitor.box).to_have_value("Peel two onions and fry them in butter.")
    expect(visitor.cards.first).to_contain_text("Peel two onions")
    visitor.page.go_back()
    expect(visitor.page.get_by_role("list", name="Examples")).to_be_visible()


def test_an_example_searches_for_what_several_items_say(visitor: Visitor) -> None:
    visitor.go()
    examples = visitor.page.get_by_role("list", name="Examples").get_by_role("button")
    examples.first.wait_for()
    assert all("a " in text or text in ("red", "circle") for text in examples.all_inner_texts())
    words = examples.first.inner_text()
    with visitor.answer():
        examples.first.click()
    expect(visitor.box).to_have_value(words)
    visitor.page.get_by_role("radio", name="Words").check()
    expect(visitor.status).to_contain_text("best score")
    assert sum(words in title for title in visitor.titles()) >= 3


def test_a_dropped_picture_finds_itself(visitor: Visitor, things: Path) -> None:
    visitor.go().drop(things / EVIL_NAME)
    expect(visitor.chips).to_have_text(["picture"])
    expect(visitor.cards.first).to_contain_text(EVIL_NAME)
    expect(visitor.cards.first.locator(".card-score")).to_have_text("1.000")
    visitor.page.reload()  # the picture is in the entry of the history
    expect(visitor.cards.first).to_contain_text(EVIL_NAME)


def test_a_pasted_picture_and_a_text_are_fused_or_mixed(visitor: Visitor, things: Path) -> None:
    visitor.go().paste(things / EVIL_NAME)
    expect(visitor.cards.first).to_contain_text(EVIL_NAME)
    visitor.search("rain")
    assert visitor.searches[-1]["weight"] is None
    with visitor.answer():
        visitor.page.get_by_role("radio", name="Mixed").check()
    assert visitor.searches[-1]["weight"] == 0.5
    slider = visitor.page.get_by_role("slider", name="Share of the picture")
    with visitor.page.expect_response(lambda answer: (answer.request.post_data_json or {}).get("weight") == 1):
        slider.press("End")
    expect(visitor.cards.first).to_contain_text(EVIL_NAME)
    slider.press("Home")
    expect(visitor.cards.first).not_to_contain_text(EVIL_NAME)
    visitor.page.get_by_role("button", name="Remove picture").click()
    expect(slider).to_have_count(0)


def test_a_text_is_compared_by_meaning_by_words_or_by_both(visitor: Visitor) -> None:
    visitor.go().search("harbour")
    both = visitor.page.get_by_role("radio", name="Both")
    expect(both).to_be_checked()  # what the index measured
    assert "mode" not in visitor.searches[-1]
    expect(visitor.cards.first).to_contain_text("It rains on the harbour all day.")
    with visitor.answer():
        visitor.page.get_by_role("radio", name="Words").check()
    assert visitor.searches[-1]["mode"] == "words"
    expect(visitor.cards).to_have_count(1)
    assert "m=words" in visitor.page.url
    with visitor.answer():
        both.check()
    expect(visitor.cards).to_have_count(60)
    visitor.cards.first.click()
    expect(visitor.page.get_by_role("dialog")).to_contain_text("words 1 (")
    expect(visitor.page.get_by_role("dialog")).to_contain_text("→ hybrid 1")


def test_what_is_no_picture_is_refused_in_words(visitor: Visitor, things: Path) -> None:
    visitor.go().drop(things / "weather.txt")
    expect(visitor.page.get_by_role("alert")).to_contain_text("“weather.txt” is not a picture.")


def test_a_file_is_chosen(visitor: Visitor, things: Path) -> None:
    visitor.go().page.get_by_label("Search with a picture").set_input_files(things / "drawn" / "red_bar_96.png")
    expect(visitor.chips).to_have_text(["picture"])
    expect(visitor.cards).to_have_count(60)


def test_more_like_this(visitor: Visitor) -> None:
    visitor.go().search("a red bar")
    first = visitor.cards.first
    title = first.locator(".card-title").inner_text()
    first.hover()
    with visitor.answer() as answer:
        first.get_by_role("button", name="More like").click()
    asked = visitor.searches[-1]
    assert asked["id"] not in found_ids(answer.value)
    assert "text" not in asked
    expect(visitor.chips).to_have_text([f"like “{title}”"])
    assert f"like={asked['id']}" in visitor.page.url
    visitor.page.go_back()
    expect(visitor.box).to_have_value("a red bar")


def test_filters_of_every_type_and_their_chips(visitor: Visitor) -> None:
    visitor.go().search("a shape")
    filters = visitor.page.get_by_role("complementary", name="Filters")
    filters.get_by_role("checkbox", name="red").check()
    expect(visitor.status).to_contain_text("16 items")
    filters.get_by_label("size, at least").fill("50")
    filters.get_by_label("size, at least").press("Enter")
    expect(visitor.status).to_contain_text("8 items")
    filters.get_by_role("checkbox", name="bar").check()
    expect(visitor.status).to_contain_text("2 items")
    assert visitor.titles() == ["a red bar", "a red bar"]
    large = filters.locator("details", has=visitor.page.get_by_text("large", exact=True))
    large.get_by_role("checkbox", name="no").check()
    expect(visitor.page.get_by_text("Nothing in the index passes these filters")).to_be_visible()
    expect(visitor.chips).to_have_text(
        ["“a shape”", "colour: red", "size ≥ 50", "shape: bar", "large: no", "Clear all"]
    )
    visitor.page.reload()
    expect(visitor.chips).to_have_count(6)
    visitor.page.get_by_role("button", name="Remove large: no").click()
    expect(visitor.status).to_contain_text("2 items")
    visitor.page.get_by_role("button", name="Clear all").click()
    expect(visitor.page.get_by_role("list", name="Examples")).to_be_visible()


def test_kinds_are_a_filter_and_texts_are_cards(visitor: Visitor) -> None:
    visitor.go().search("rain")
    visitor.page.get_by_role("complementary", name="Filters").get_by_role("checkbox", name="text").check()
    expect(visitor.status).to_contain_text("4 items")
    expect(visitor.cards.first.locator(".text-card")).to_contain_text("It rains on the harbour")


def test_more_results_are_loaded(visitor: Visitor) -> None:
    visitor.go().search("a green circle")
    expect(visitor.cards).to_have_count(60)
    visitor.page.mouse.wheel(0, 2000)
    expect(visitor.cards).to_have_count(69)
    assert [body["offset"] for body in visitor.searches] == [0, 60]


def test_what_is_found_is_put_in_another_order(visitor: Visitor) -> None:
    visitor.go().search("a green circle")
    by = visitor.page.get_by_label("Sort by")
    expect(by).to_have_value("score")
    with visitor.answer() as answer:
        by.select_option("drawn")
    assert visitor.searches[-1]["limit"] == 200
    hits = answer.value.json()["results"]
    days = {hit["fields"]["drawn"] for hit in hits} - {None}
    visitor.settle()
    first = [hit["text"] for hit in hits if hit["fields"]["drawn"] == max(days)]
    assert visitor.titles()[: len(first)] == first
    with visitor.answer():
        visitor.page.get_by_role("button", name="newest first").click()
    visitor.settle()
    last = [hit["text"] for hit in hits if hit["fields"]["drawn"] == min(days)]
    assert visitor.titles()[: len(last)] == last
    assert "by=drawn" in visitor.page.url


def test_the_histogram_says_in_words_what_it_draws(visitor: Visitor) -> None:
    with visitor.go().answer() as answer:
        visitor.box.fill("a blue square")
    assert sum(answer.value.json()["histogram"]["counts"]) == 69
    drawing = visitor.page.get_by_role("img", name="Scores over the index")
    best = max(hit["scores"]["vector"] for hit in answer.value.json()["results"][:10])
    assert f"Best {best:.3f}." in (drawing.get_attribute("aria-label") or "")
    expect(drawing.locator(".histogram-mark")).to_have_count(10)


def test_the_detail_view_shows_all_and_steps_on(visitor: Visitor) -> None:
    visitor.go().search("a yellow triangle")
    titles = visitor.titles()
    visitor.cards.nth(1).locator(".card-open").click()
    dialog = visitor.page.get_by_role("dialog", name=titles[1])
    expect(dialog.get_by_text("2 of 69")).to_be_visible()
    expect(dialog.locator("dt")).to_contain_text(["kind", "score", "colour", "path"])
    expect(dialog.get_by_role("list").get_by_role("button")).to_have_count(8)
    picture = dialog.locator(".detail-picture img")
    expect(picture).to_have_attribute("alt", titles[1])
    assert picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    visitor.page.keyboard.press("ArrowRight")
    expect(visitor.page.get_by_role("dialog", name=titles[2]).get_by_text("3 of 69")).to_be_visible()
    with visitor.answer():
        visitor.page.get_by_role("button", name="More like this", exact=True).click()
    expect(visitor.page.get_by_role("dialog")).to_have_count(0)


def test_names_and_texts_that_try_to_be_html_stay_text(visitor: Visitor) -> None:
    visitor.go().search("<img src=x onerror=alert(1)>")
    visitor.page.get_by_role("complementary", name="Filters").get_by_role("checkbox", name="text").check()
    expect(visitor.page.get_by_text(EVIL_TEXT).first).to_be_visible()
    visitor.page.get_by_role("complementary", name="Filters").get_by_role("checkbox", name="text").uncheck()
    visitor.page.get_by_role("checkbox", name="<b>green</b>").check()
    expect(visitor.status).to_contain_text("1 item")
    visitor.cards.first.locator(".card-open").click()
    expect(visitor.page.get_by_role("dialog", name=EVIL_NAME).locator(".path")).to_have_text(EVIL_NAME)
    expect(visitor.page).to_have_title("llave")


@pytest.mark.problems("400")
def test_an_error_is_one_line_in_the_servers_words(visitor: Visitor) -> None:
    visitor.go('#q=red&f={"nonsense":["x"]}')
    expect(visitor.page.get_by_role("alert")).to_contain_text("nonsense")
    visitor.page.get_by_role("button", name="Remove nonsense: x").click()
    expect(visitor.cards.first).to_be_visible()


def test_by_keyboard_alone(visitor: Visitor) -> None:
    page = visitor.go().page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the results")).to_be_focused()
    page.keyboard.press("/")
    expect(visitor.box).to_be_focused()
    with visitor.answer():
        page.keyboard.insert_text("a red circle")  # at once: a pause between letters would be a search of its own
    expect(visitor.cards.first).to_contain_text(re.compile(r"\d\.\d{3}"))  # a score: not what the page opened with
    page.keyboard.press("ArrowDown")
    expect(visitor.cards.first.locator(".card-open")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    columns = visitor.cards.evaluate_all("(all) => all.filter((c) => c.offsetTop === all[0].offsetTop).length")
    there = visitor.cards.nth(1 + columns)
    expect(there.locator(".card-open")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(there.locator(".card-open")).to_be_focused()
    page.keyboard.press("s")
    expect(visitor.chips).to_contain_text(["like"])
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    assert visitor.page.evaluate("document.activeElement.matches('.bar-input')")


def test_the_report_opens_under_its_own_policy(visitor: Visitor) -> None:
    visitor.go()
    with visitor.page.expect_popup() as opened:
        visitor.page.get_by_role("link", name="Negatives").click()
    heading = opened.value.get_by_role("heading", name="Hardest")
    expect(heading).to_have_css("color", "rgb(255, 0, 0)")


@pytest.mark.problems("ERR_ABORTED")
def test_typing_on_ends_the_request_before(visitor: Visitor) -> None:
    page = visitor.go().page
    # Held back for ever; all else reaches the server.
    page.route("**/v1/search", lambda route: _asks(route, "a red") or route.continue_())
    with page.expect_request("**/v1/search"):
        visitor.box.fill("a red")
    with page.expect_event("requestfailed", lambda request: request.post_data_json["text"] == "a red"):
        visitor.search("a red circle")
    expect(visitor.status).to_contain_text("69 items")


def _asks(route: Route, text: str) -> bool:
    body = route.request.post_data_json
    return isinstance(body, dict) and body.get("text") == text
