"""The map in a real browser: selecting by lasso, by keyboard and without the canvas."""

import pytest
from playwright.sync_api import Locator, expect

from tests.serving.page.conftest import PHONE, Visit
from tests.serving.page.visitor import Visitor

pytestmark = pytest.mark.browser


def canvas_of(visitor: Visitor) -> Locator:
    canvas = visitor.page.get_by_role("application", name="Map of the index")
    canvas.wait_for()
    return canvas


def selected(visitor: Visitor) -> int:
    """How many items the chip says are selected; the gallery holds as many, a page at least."""
    chip = visitor.page.get_by_text("from the map")
    chip.wait_for()
    number = int(chip.inner_text().split()[0])
    expect(visitor.cards).to_have_count(min(60, number))
    return number


def test_a_lasso_becomes_the_gallery(visitor: Visitor) -> None:
    visitor.go("#view=map")
    box = canvas_of(visitor).bounding_box()
    assert box is not None
    visitor.page.get_by_role("button", name="Select with a lasso").click()
    corners = [(0.02, 0.02), (0.52, 0.02), (0.52, 0.98), (0.02, 0.98)]
    mouse = visitor.page.mouse
    for number, (x, y) in enumerate(corners):
        mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=3)
        if number == 0:
            mouse.down()
    expect(visitor.page.locator(".map-outline polygon")).to_be_visible()
    mouse.up()
    assert 0 < selected(visitor) < 69
    visitor.page.get_by_role("button", name="Remove", exact=False).first.click()
    expect(visitor.page.get_by_text("from the map")).to_have_count(0)


def test_a_rectangle_by_keyboard_becomes_the_gallery(visitor: Visitor) -> None:
    canvas = canvas_of(visitor.go("#view=map"))
    canvas.focus()
    visitor.page.keyboard.press("r")
    expect(visitor.page.locator(".map-outline polygon")).to_be_visible()
    for _ in range(30):
        visitor.page.keyboard.press("Shift+ArrowRight")
        visitor.page.keyboard.press("Shift+ArrowUp")
    visitor.page.keyboard.press("Enter")
    assert selected(visitor) == 69
    expect(visitor.page.locator(".map-outline")).to_have_count(0)


def test_zooming_by_wheel_and_keyboard_changes_what_is_in_view(visitor: Visitor) -> None:
    canvas = canvas_of(visitor.go("#view=map"))
    inside = visitor.page.get_by_role("button", name="in view")
    expect(inside).to_have_text("List 69 in view")
    canvas.hover()
    visitor.page.mouse.wheel(0, -1500)
    expect(inside).not_to_have_text("List 69 in view")
    canvas.focus()
    visitor.page.keyboard.press("0")
    expect(inside).to_have_text("List 69 in view")
    inside.click()
    assert selected(visitor) == 69


def test_groups_are_listed_without_the_canvas(visitor: Visitor) -> None:
    visitor.go("#view=map")
    visitor.page.get_by_label("Colour by").select_option("shape")
    legend = visitor.page.get_by_role("list", name="Groups by shape")
    expect(legend.get_by_role("button")).to_have_count(5)  # four, and texts, which have none
    legend.get_by_role("button", name="circle").click()
    assert selected(visitor) == 16
    assert all("circle" in title for title in visitor.titles())


def test_what_the_query_finds_is_marked(visitor: Visitor) -> None:
    canvas = canvas_of(visitor.go("#view=map"))
    visitor.page.mouse.move(0, 0)
    before = canvas.screenshot()
    visitor.search("a red circle")
    expect(visitor.cards).to_have_count(60)
    visitor.page.wait_for_timeout(200)  # the next frame
    assert canvas.screenshot() != before


def test_a_point_shows_its_item(visitor: Visitor) -> None:
    canvas = canvas_of(visitor.go("#view=map"))
    box = canvas.bounding_box()
    assert box is not None
    x, y = visitor.page.evaluate(
        "() => fetch('/v1/map').then((answer) => answer.json()).then((map) => [map.x[0], map.y[0]])"
    )
    scale = min(box["width"], box["height"]) / 2.12
    place = (box["x"] + box["width"] / 2 + x * scale, box["y"] + box["height"] / 2 - y * scale)
    visitor.page.mouse.move(*place)
    expect(visitor.page.locator(".hover-card")).to_be_visible()
    visitor.page.mouse.click(*place)
    expect(visitor.page.get_by_role("dialog")).to_be_visible()


def test_without_webgl_the_rest_works(visitor: Visitor) -> None:
    visitor.page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null;")
    visitor.go("#view=map")
    expect(visitor.page.get_by_role("alert")).to_contain_text("no WebGL")
    visitor.page.get_by_label("Colour by").select_option("colour")
    visitor.page.get_by_role("list", name="Groups by colour").get_by_role("button", name="blue").click()
    assert selected(visitor) == 16


def test_two_fingers_zoom(visit: Visit, site: str) -> None:
    visitor = visit(site, **PHONE).go("#view=map")
    canvas = canvas_of(visitor)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    fingers = visitor.page.context.new_cdp_session(visitor.page)
    for kind, apart in (("Start", 20), ("Move", 60), ("Move", 140), ("End", None)):
        points = [] if apart is None else [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        fingers.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    expect(visitor.page.get_by_role("button", name="in view")).not_to_have_text("List 69 in view")
