"""A server follows its index: what other processes write, replace and remove is what it shows."""

import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from sentence_transformers import SentenceTransformer

from llave import load_model
from llave.collection.open import open_collection
from llave.encode.cache import model_fingerprint
from llave.search.index import Index
from llave.search.info import IndexInfo
from llave.search.kept import keep
from llave.search.options import BuildOptions
from llave.search.update import update_index
from llave.search.upgrade import upgrade_index
from llave.serving.app import AppOptions
from llave.serving.engine import Engine
from tests.serving.running import Running, running

Found = TypeVar("Found")
COLOURS = ["red", "green", "blue", "black"]


def until(ask: Callable[[], Found], right: Callable[[Found], bool], seconds: float = 60) -> Found:
    """The first answer that is right."""
    end = time.monotonic() + seconds
    while not right(found := ask()):
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


class Shelf:
    """A folder with pictures, and its index."""

    def __init__(self, root: Path, model: SentenceTransformer) -> None:
        self.things, self.path, self.model = root / "things", root / "the.index", model
        self.things.mkdir()
        self.draw(["red", "green", "blue", "black"])
        self.describe("old")
        self.make(self.path)

    def draw(self, colours: list[str]) -> None:
        for number, colour in enumerate(colours):
            image = Image.new("RGB", (200, 200), "white")
            ImageDraw.Draw(image).ellipse((20 + number * 9, 20, 150, 180), fill=colour)
            image.save(self.things / f"{number}.png")

    def describe(self, artist: str) -> None:
        rows = [{"file_name": f"{number}.png", "artist": artist, "year": len(artist)} for number in range(4)]
        (self.things / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def make(self, path: Path, **other: Any) -> None:
        info = {"model": "nano", "fingerprint": model_fingerprint(self.model), "dimension": 384, **other}
        self.update(Index.create(path, IndexInfo(**info)))

    def update(self, index: Index | None = None) -> None:
        """As another process does it, with a table that it opened itself."""
        index = index or Index.open(self.path)
        options = BuildOptions(progress=False)
        assert not update_index(index, self.model, open_collection(self.things), self.things, options).errors


@pytest.fixture
def shelf(tmp_path: Path, nano_untouched: SentenceTransformer) -> Shelf:
    return Shelf(tmp_path, nano_untouched)


@pytest.fixture
def server(shelf: Shelf) -> Iterator[Running]:
    with running(shelf.model, AppOptions(index=Index.open(shelf.path))) as found:
        yield found


def search(server: Running) -> Any:
    response = server.client.post("/v1/search", json={"text": "red", "limit": 4, "histogram": True})
    assert response.status_code == 200, response.text
    return response.json()


def artists(server: Running) -> tuple[list[str], list[str], set[str]]:
    """Of the fields, the map and the hits."""
    about, drawn = server.client.get("/v1/index").json(), server.client.get("/v1/map").json()
    fields = {field["name"]: field["values"] for field in about["fields"] if field["name"] == "artist"}
    return (
        [value["value"] for value in fields.get("artist", [])],
        drawn.get("fields", {}).get("artist", {}).get("values", []),
        {hit["fields"]["artist"] for hit in search(server)["results"]},
    )


def test_fields_map_and_histogram_are_those_of_the_new_state(shelf: Shelf, server: Running) -> None:
    assert artists(server) == (["old"], ["old"], {"old"})
    shelf.describe("newer")
    shelf.update()
    until(lambda: artists(server), lambda found: found == (["newer"], ["newer"], {"newer"}))
    shelf.draw(["purple", "orange", "pink", "cyan"])
    shelf.update()

    def spread() -> tuple[float, float]:
        found = search(server)
        return found["results"][0]["score"], found["histogram"]["edges"][-1]

    until(spread, lambda found: abs(found[0] - found[1]) < 1e-3)


def test_the_version_is_the_same_until_something_changes(shelf: Shelf, server: Running) -> None:
    about = server.client.get("/v1/index")
    version = about.json()["version"]
    assert search(server)["version"] == server.client.get("/v1/map").json()["version"] == version
    again = server.client.get("/v1/index", headers={"if-none-match": about.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    shelf.describe("newer")
    shelf.update()
    newer = until(lambda: server.client.get("/v1/index").json()["version"], lambda found: found != version)
    until(lambda: search(server)["version"], lambda found: found == newer)


def test_a_replaced_picture_has_another_address(shelf: Shelf, server: Running) -> None:
    def addresses() -> dict[str, tuple[str, str]]:
        return {hit["path"]: (hit["thumbnail"], hit["content"]) for hit in search(server)["results"]}

    before = addresses()
    for address in before["0.png"]:
        assert "immutable" in server.client.get(address).headers["cache-control"]
        for other in (address.partition("?")[0], address[:-1] + "x"):
            careful = server.client.get(other)
            assert careful.headers["cache-control"] == "private, no-cache"
            known = server.client.get(other, headers={"if-none-match": careful.headers["etag"]})
            assert (known.status_code, known.content) == (304, b"")
    old = [server.client.get(address).content for address in before["0.png"]]
    Image.new("RGB", (200, 200), "orange").save(shelf.things / "0.png")
    # Until it is indexed anew, the file is not the one that the address speaks of.
    assert server.client.get(before["0.png"][1]).headers["cache-control"] == "private, no-cache"
    shelf.update()
    after = until(addresses, lambda found: found["0.png"] != before["0.png"])
    assert [after[f"{number}.png"] for number in (1, 2, 3)] == [before[f"{number}.png"] for number in (1, 2, 3)]
    for address, now, was in zip(before["0.png"], after["0.png"], old, strict=True):
        assert server.client.get(now).content != was
        assert server.client.get(address).headers["cache-control"] == "private, no-cache"


def ready(server: Running) -> int:
    return server.client.get("/health/ready").status_code


def test_an_index_that_is_gone_and_back(
    shelf: Shelf, server: Running, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    search(server)
    shelf.path.rename(tmp_path / "elsewhere")
    # At once, although nobody has looked yet; or with what is still in memory.
    until(lambda: server.client.post("/v1/search", json={"text": "red"}), lambda found: found.status_code == 503)
    until(lambda: ready(server), lambda status: status == 503)
    for response in (server.client.get("/v1/index"), server.client.post("/v1/items", json={"ids": ["a"]})):
        assert (response.status_code, response.json()["error"]["code"]) == (503, "index_unavailable")
        assert response.headers["retry-after"] == "2"
    assert server.client.get("/health/live").status_code == 200
    server.vectors("embeddings go on")
    (tmp_path / "elsewhere").rename(shelf.path)
    until(lambda: ready(server), lambda status: status == 200)
    assert search(server)["count"] == 4
    said = [record.getMessage() for record in caplog.records if record.name == "llave.serving"]
    assert [line.split(": ", 1)[1].split(" (")[0].split(",")[0] for line in said] == ["gone", "back"]


def test_an_index_that_was_made_anew(shelf: Shelf, server: Running) -> None:
    assert artists(server)[0] == ["old"]
    shutil.rmtree(shelf.path)
    shelf.describe("of another index")
    shelf.make(shelf.path)
    until(lambda: ready(server) == 200 and artists(server)[0] == ["of another index"], bool)


def test_an_index_of_another_model(
    shelf: Shelf, server: Running, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    search(server)
    shelf.make(tmp_path / "foreign", fingerprint="of another model")
    shelf.path.rename(tmp_path / "own")
    (tmp_path / "foreign").rename(shelf.path)
    until(lambda: ready(server), lambda status: status == 503)
    until(lambda: caplog.text, lambda text: "restart the server" in text)
    assert server.client.post("/v1/search", json={"text": "red"}).status_code == 503
    with caplog.at_level(logging.CRITICAL):
        shutil.rmtree(shelf.path)
        (tmp_path / "own").rename(shelf.path)
    until(lambda: ready(server), lambda status: status == 200)
    assert search(server)["count"] == 4


def test_an_upgraded_index_goes_over_to_the_other_model(shelf: Shelf) -> None:
    other: Any = load_model("nano")
    with torch.no_grad():
        next(other.parameters()).add_(0.01)
    engines = [Engine(shelf.model, name="one"), Engine(other, name="two")]
    with running(engines, AppOptions(index=Index.open(shelf.path))) as server:
        before = search(server)["results"]
        upgraded, report = upgrade_index(Index.open(shelf.path), other, BuildOptions(progress=False))
        assert report.items == report.embedded == 4
        wanted = [hit.score for hit in upgraded.search(expected_query(other), limit=4)]
        assert not np.allclose([hit["score"] for hit in before], wanted, atol=1e-4)
        until(
            lambda: [hit["score"] for hit in search(server)["results"]],
            lambda found: np.allclose(found, wanted, atol=1e-5),
        )
        assert ready(server) == 200


def expected_query(model: SentenceTransformer) -> Any:
    return model.encode(["red"], normalize_embeddings=True, prompt="")[0]


def test_many_who_ask_wait_for_one_description(shelf: Shelf, server: Running) -> None:
    catalogue = server.app.state.service.catalogue
    made, describe = [], catalogue._describe
    begun, go_on = threading.Event(), threading.Event()

    def slow(index: Index) -> dict[str, Any]:
        made.append(index)
        begun.set()
        assert go_on.wait(30)
        found: dict[str, Any] = describe(index)
        return found

    catalogue._describe = slow
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(server.client.get("/v1/index").status_code)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    assert begun.wait(30)
    assert search(server)["count"] == 4  # goes on meanwhile
    go_on.set()
    for thread in threads:
        thread.join()
    assert (answers, len(made)) == ([200] * 6, 1)


def test_what_was_dear_is_not_made_anew_at_once() -> None:
    dear = keep(1, lambda: time.sleep(0.05))
    assert dear.serves(2)
    until(lambda: dear.serves(2), lambda serves: not serves)
    assert dear.serves(1)
