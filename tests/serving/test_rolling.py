"""An index made anew beside the one that is served, and put in its place while servers answer."""

import os
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

from llave.search.index import Index
from llave.serving.app import AppOptions
from llave.serving.engine import Engine
from tests.serving.running import Running, running
from tests.serving.test_follow import Shelf, until

GENERATIONS = 4


def by_link(shelf: Shelf, made: Path) -> None:
    """As docs/deploy.md says: a new link in place of the old one, at once."""
    link = shelf.path.with_name("next")
    link.symlink_to(made)
    os.replace(link, shelf.path)


def by_name(shelf: Shelf, made: Path) -> None:
    shelf.path.rename(made.with_name(f"before {made.name}"))
    made.rename(shelf.path)


@pytest.fixture
def shelf(tmp_path: Path, nano_untouched: SentenceTransformer) -> Shelf:
    return Shelf(tmp_path, nano_untouched)


@pytest.fixture
def servers(shelf: Shelf, request: pytest.FixtureRequest) -> Iterator[list[Running]]:
    """Two, of one index."""
    if request.param == "link":
        shelf.path.rename(shelf.path.with_name("0"))
        by_link(shelf, shelf.path.with_name("0"))
    engine = Engine(shelf.model, name="nano")
    with ExitStack() as stack:
        yield [stack.enter_context(running(engine, AppOptions(index=Index.open(shelf.path)))) for _ in range(2)]


@pytest.mark.parametrize(("servers", "swap"), [("link", by_link), ("name", by_name)], indirect=["servers"])
def test_each_answer_is_of_one_index(shelf: Shelf, servers: list[Running], swap: Callable[[Shelf, Path], None]) -> None:
    """Its hits, fields and addresses; and equal versions are equal content, whichever server says it."""
    contents: dict[str, set[Any]] = defaultdict(set)
    wrong: list[Any] = []
    end = threading.Event()

    def ask(server: Running) -> None:
        while not end.is_set():
            response = server.client.post("/v1/search", json={"text": "red", "limit": 4})
            if response.status_code == 503 and swap is by_name:  # between its two renames there is none
                assert response.headers["retry-after"]
                continue
            found = response.json()
            artists = {hit["fields"]["artist"] for hit in found["results"]}
            if response.status_code != 200 or found["count"] != 4 or len(artists) != 1:
                wrong.append(found)
            contents[found["version"]].add(tuple(sorted((hit["thumbnail"], *artists) for hit in found["results"])))
            for hit in found["results"][:1]:
                picture = server.client.get(hit["thumbnail"])  # of another index by now, then it is not for good
                assert picture.status_code in {200, 503}

    threads = [threading.Thread(target=ask, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        for generation in range(1, GENERATIONS):
            shelf.describe(f"artist {generation}")
            shelf.draw(["red", "green", "blue", "black"][generation:] + ["pink"] * generation)
            made = shelf.path.with_name(str(generation))
            shelf.make(made)
            swap(shelf, made)
            all_show(servers, f"artist {generation}")
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert {len(each) for each in contents.values()} == {1}
    assert len(contents) == GENERATIONS
    about = [server.client.get("/v1/index").json() for server in servers]
    assert about[0] == about[1]


def all_show(servers: list[Running], name: str) -> None:
    """Wait until all servers answer from the index of that artist."""
    for server in servers:
        until(partial(artist, server), lambda found: found == name)


def artist(server: Running) -> str:
    response = server.client.post("/v1/search", json={"text": "red", "limit": 1})
    return "" if response.status_code != 200 else str(response.json()["results"][0]["fields"]["artist"])


@pytest.mark.parametrize("servers", ["link"], indirect=True)
def test_the_old_index_may_be_removed_once_all_have_gone_over(shelf: Shelf, servers: list[Running]) -> None:
    shelf.describe("newer")
    made = shelf.path.with_name("1")
    shelf.make(made)
    by_link(shelf, made)
    all_show(servers, "newer")
    shutil.rmtree(shelf.path.with_name("0"))
    for server in servers:
        assert artist(server) == "newer"
        assert server.client.get("/health/ready").status_code == 200


@pytest.mark.parametrize("servers", ["link"], indirect=True)
def test_a_copy_on_another_machine_has_the_same_version(shelf: Shelf, servers: list[Running], tmp_path: Path) -> None:
    copy = shutil.copytree(shelf.path, tmp_path / "copy")
    with running(Engine(shelf.model, name="nano"), AppOptions(index=Index.open(copy))) as other:
        found = [server.client.get("/v1/index").json() for server in (other, servers[0])]
        assert found[0] == found[1]
        maps = [server.client.get("/v1/map") for server in (other, servers[0])]
        assert maps[0].headers["etag"] == maps[1].headers["etag"]
