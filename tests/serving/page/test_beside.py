"""Two models side by side: what both find, and where each has it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from sentence_transformers import SentenceTransformer

from llave import build_index
from llave.search.index import Index
from llave.search.options import BuildOptions
from llave.serving.app import AppOptions
from llave.serving.engine import Engine
from tests.serving.page.conftest import PHONE, Visit
from tests.serving.page.visitor import Visitor
from tests.serving.running import running

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def both(
    engine: Engine, index: Index, things: Path, retrained: SentenceTransformer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a server with two models and two indexes."""
    folder = tmp_path_factory.mktemp("beside")
    beside, _ = build_index(folder / "index", retrained, things, options=BuildOptions(progress=False))
    with running([engine, Engine(retrained, name="retrained")], AppOptions(index=index, beside=beside)) as server:
        yield server.url


def test_two_rankings_side_by_side(visit: Visit, both: str) -> None:
    visitor = visit(both).go("#q=a+red+circle")
    page = visitor.page
    with page.expect_response("**/v1/search?index=2") as answered:
        page.get_by_role("button", name="Models").click()
    second = [hit["id"] for hit in answered.value.json()["results"]]
    assert answered.value.request.post_data_json["mode"] == "vector"
    columns = page.locator(".beside-list")
    expect(columns).to_have_count(2)
    first = page.request.post(f"{both}/v1/search", data={"text": "a red circle", "mode": "vector", "limit": 50})
    ids = [hit["id"] for hit in first.json()["results"]]
    expect(columns.nth(0).get_by_role("listitem")).to_have_count(50)
    expect(visitor.status).to_contain_text(f"{len({*ids[:10]} & {*second[:10]})} of the 10 best")
    expect(visitor.status).to_contain_text(f"{len({*ids} & {*second})} of the 50 best")
    for place, item in enumerate(ids):
        change = columns.nth(0).locator(".beside-change").nth(place)
        if item not in second:
            expect(change).to_have_text("only here")
        else:
            by = second.index(item) - place
            expect(change).to_contain_text("=" if by == 0 else f"{'▲' if by > 0 else '▼'} {abs(by)}")
    columns.nth(1).get_by_role("button").first.hover()
    expect(page.locator('[data-hovered="true"]')).to_have_count(1 + (second[0] in ids))
    columns.nth(1).get_by_role("button").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.reload()
    expect(columns).to_have_count(2)


def test_on_a_phone_and_without_a_question(visit: Visit, both: str) -> None:
    visitor = visit(both, **PHONE).go("#view=beside")
    expect(visitor.page.get_by_text("both models answer")).to_be_visible()
    visitor.box.fill("a blue bar")
    expect(visitor.page.locator(".beside-list")).to_have_count(2)
    assert not visitor.scrolls_sideways()


def test_with_one_index_there_is_no_such_view(visitor: Visitor) -> None:
    visitor.go("#view=beside").settle()
    expect(visitor.page.get_by_role("button", name="Models")).to_have_count(0)
