"""The map in a real browser: selecting by lasso, by keyboard and without the canvas."""

import io
import itertools
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
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


def test_the_legend_filters(visitor: Visitor) -> None:
    visitor.go("#view=map")
    visitor.page.get_by_label("Colour by").select_option("shape")
    legend = visitor.page.get_by_role("list", name="Groups by shape")
    expect(legend.get_by_role("button")).to_have_count(5)  # four, and texts, which have none
    circle = legend.get_by_role("button", name="circle")
    circle.click()
    expect(visitor.status).to_have_text("16 items")
    expect(visitor.chips).to_have_text(["shape: circle"])
    assert all("circle" in title for title in visitor.titles())
    legend.get_by_role("button", name="bar").click()
    expect(visitor.status).to_have_text("33 items")
    expect(circle).to_have_attribute("aria-pressed", "true")
    circle.click()
    expect(visitor.status).to_have_text("17 items")
    legend.get_by_role("button", name="other or none").click()
    assert selected(visitor) == 4


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
    expect(visitor.status).to_have_text("16 items")


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


def heaps(size: int) -> dict[str, Any]:
    """A map of so many points in eight heaps, each of a name; the year grows from left to right."""
    rng = np.random.default_rng(0)
    heap_N = rng.integers(0, 8, size)
    centre_82 = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1) * 0.7
    xy_N2 = np.clip(centre_82[heap_N] + rng.normal(scale=0.06, size=(size, 2)), -1, 1)
    return {
        "ids": [f"{number:032x}" for number in range(size)],
        "x": xy_N2[:, 0].tolist(),
        "y": xy_N2[:, 1].tolist(),
        "kinds": ["image"],
        "kind": [0] * size,
        "fields": {"heap": {"values": [f"heap {number}" for number in range(8)], "codes": heap_N.tolist()}},
        "numbers": {"size": {"type": "integer", "values": (xy_N2[:, 0] * 80 + 90).round().astype(int).tolist()}},
        "version": "synthetic",
    }


def answer_with(visitor: Visitor, drawn: dict[str, Any]) -> None:
    body = json.dumps(drawn)
    visitor.page.route("**/v1/map", lambda route: route.fulfill(body=body, content_type="application/json"))


def names(visitor: Visitor) -> dict[str, tuple[float, float, float, float]]:
    """The names on the map and their boxes."""
    labels = visitor.page.locator(".map-labels span")
    boxes = labels.evaluate_all(
        "(all) => all.map((e) => e.getBoundingClientRect()).map((b) => [b.x, b.y, b.right, b.bottom])"
    )
    return dict(zip(labels.all_inner_texts(), map(tuple, boxes), strict=True))


def test_names_stand_where_their_points_are_and_never_on_one_another(visitor: Visitor) -> None:
    drawn = heaps(4000)
    answer_with(visitor, drawn)
    box = canvas_of(visitor.go("#view=map")).bounding_box()
    assert box is not None
    visitor.page.locator(".map-labels span").first.wait_for()
    found = names(visitor)
    assert set(found) == {f"heap {number}" for number in range(8)}
    scale = min(box["width"], box["height"]) / 2.12
    for name, (left, top, right, bottom) in found.items():
        number = int(name.split()[1])
        x = box["x"] + box["width"] / 2 + 0.7 * np.cos(number * np.pi / 4) * scale
        y = box["y"] + box["height"] / 2 - 0.7 * np.sin(number * np.pi / 4) * scale
        assert abs((left + right) / 2 - x) < 30
        assert abs((top + bottom) / 2 - y) < 30
    for one, other in itertools.combinations(found.values(), 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    visitor.page.get_by_label("Names").select_option("none")
    expect(visitor.page.locator(".map-labels span")).to_have_count(0)


def test_finer_names_appear_as_one_zooms_in(visitor: Visitor) -> None:
    drawn = heaps(4000)
    fine = np.full(4000, -1)
    fine[np.random.default_rng(1).permutation(4000)[:60]] = 0
    for near in np.argsort(np.hypot(np.array(drawn["x"]) - 0.7, drawn["y"]))[:30]:
        fine[near] = 1
    drawn["fields"]["fine"] = {
        "values": ["scattered", "middle of heap 0", *map(str, range(20))],
        "codes": fine.tolist(),
    }
    answer_with(visitor, drawn)
    canvas = canvas_of(visitor.go("#view=map"))
    visitor.page.locator(".map-labels span").first.wait_for()
    assert "middle of heap 0" not in names(visitor)
    box = canvas.bounding_box()
    assert box is not None
    scale = min(box["width"], box["height"]) / 2.12
    visitor.page.mouse.move(box["x"] + box["width"] / 2 + 0.7 * scale, box["y"] + box["height"] / 2)
    for _ in range(6):
        visitor.page.mouse.wheel(0, -250)
    expect(visitor.page.get_by_text("middle of heap 0")).to_be_visible()


def test_a_number_is_a_ramp_and_its_range_filters(visitor: Visitor) -> None:
    visitor.go("#view=map")
    visitor.page.get_by_label("Colour by").select_option("size")
    low = visitor.page.get_by_role("slider", name="size, from")
    expect(low).to_have_attribute("aria-valuetext", "24")
    expect(visitor.page.locator(".range rect")).to_have_count(15)
    canvas = canvas_of(visitor)
    visitor.page.mouse.move(0, 0)
    before = canvas.screenshot()
    low.focus()
    for _ in range(6):
        visitor.page.keyboard.press("PageUp")
    expect(visitor.chips.first).to_contain_text("size ≥")
    bound = visitor.listings[-1]["filter"]["size"][">="]
    expect(visitor.status).to_have_text(
        f"{16 * sum(size >= bound for size in (24, 48, 96, 160)) + (bound <= 48)} items"
    )
    assert canvas.screenshot() != before  # what is out of the range is faint
    visitor.page.get_by_role("button", name="Remove size").click()
    expect(low).to_have_value("0")
    visitor.page.get_by_label("Colour by").select_option("drawn")
    expect(visitor.page.get_by_role("slider", name="drawn, from")).to_have_attribute("aria-valuetext", "2010-03-01")
    assert "without" in visitor.page.locator(".range-ends").inner_text()


def test_many_points_are_drawn_as_density(visitor: Visitor) -> None:
    """A heap of many is drawn stronger than one of few, which single points on one another would not show."""
    drawn = heaps(120_000)
    thin = np.array(drawn["fields"]["heap"]["codes"]) == 3
    keep = ~thin | (np.random.default_rng(2).random(120_000) < 0.02)
    for name in ("ids", "x", "y", "kind"):
        drawn[name] = [value for value, kept in zip(drawn[name], keep, strict=True) if kept]
    codes = drawn["fields"]["heap"]["codes"]
    drawn["fields"]["heap"]["codes"] = [0 for _, kept in zip(codes, keep, strict=True) if kept]
    drawn["fields"]["heap"]["values"] = ["one colour"]
    drawn["numbers"] = {}
    answer_with(visitor, drawn)
    canvas = canvas_of(visitor.go("#view=map"))
    box = canvas.bounding_box()
    assert box is not None
    expect(visitor.page.get_by_role("button", name="in view")).to_contain_text(f"{len(drawn['ids']):,}")
    visitor.page.wait_for_timeout(500)
    shown = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("L"), float)
    scale = min(box["width"], box["height"]) / 2.12

    def ink(number: int) -> float:
        """How much darker than the ground the inner part of a heap is."""
        x = int(shown.shape[1] / 2 + 0.7 * np.cos(number * np.pi / 4) * scale)
        y = int(shown.shape[0] / 2 - 0.7 * np.sin(number * np.pi / 4) * scale)
        part = shown[y - 8 : y + 8, x - 8 : x + 8]
        return float(shown.max() - part[part < shown.max() - 3].mean())

    assert ink(1) > 1.3 * ink(3) > 0
