"""A sound on the page: a player in the item's dialog, nothing fetched before it is asked for, also with a key."""

from pathlib import Path

import pytest
from playwright.sync_api import Request, expect

from llave.models.model import EmbeddingModel
from llave.search.build import build_index
from llave.search.options import BuildOptions
from llave.serving.app import AppOptions
from llave.serving.engine import Engine
from llave.serving.gates.auth import Keys
from tests.serving.page.conftest import Visit
from tests.serving.page.things import KEY
from tests.serving.running import running
from tests.sounds import tone, write_sound

pytestmark = pytest.mark.browser
PLAYS = "(audio) => audio.play().then(() => (audio.pause(), audio.duration))"


@pytest.mark.problems("401")
def test_a_sound_is_played(visit: Visit, built: None, hearing_model: EmbeddingModel, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for name, hertz in (("low", 220), ("high", 880)):
        write_sound(tmp_path / "clips" / f"{name}.wav", tone(0.5, hertz))
    options = BuildOptions(progress=False, make_map=False)
    index, _ = build_index(tmp_path / "x", hearing_model, tmp_path / "clips", options=options)
    engine = Engine(hearing_model, name="hearing")
    with running(engine, AppOptions(index=index)) as server:
        visitor = visit(server.url).go()
        fetched: list[str] = []

        def note(request: Request) -> None:
            fetched.append(request.url)

        visitor.page.on("request", note)
        expect(visitor.page.get_by_role("heading", name="Search 2 sounds by meaning")).to_be_visible()
        visitor.cards.first.click()
        dialog = visitor.page.get_by_role("dialog")
        player = dialog.locator("audio")
        expect(player).to_have_attribute("preload", "none")
        assert player.evaluate("(audio) => audio.controls && audio.paused && !audio.autoplay")
        player.press("ArrowRight")  # of the player, and not the next item
        expect(dialog).to_contain_text("high.wav")
        assert not [url for url in fetched if url.split("?")[0].endswith("/content")]
        assert player.evaluate(PLAYS) == pytest.approx(0.5, abs=0.01)
    with running(engine, AppOptions(index=index, keys=Keys([KEY]))) as server:
        visitor = visit(server.url).go()
        visitor.page.get_by_role("textbox", name="API key").fill(KEY)
        visitor.page.keyboard.press("Enter")
        visitor.cards.first.click()
        visitor.page.get_by_role("button", name="Load the sound").click()
        player = visitor.page.get_by_role("dialog").locator("audio")
        assert player.evaluate(PLAYS) == pytest.approx(0.5, abs=0.01)
