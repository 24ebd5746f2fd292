"""Browsing over HTTP: orders, pages, folders, and what is refused."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave import build_index
from llave.search.options import BuildOptions
from llave.serving.app import AppOptions
from tests.serving.running import Running, running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures in three folders, one of them below another."""
    root = tmp_path_factory.mktemp("browsed") / "things"
    lines = []
    for number in range(12):
        name = f"{('plain', 'many/a', 'many/b')[number % 3]}/{number:02}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (20 * number, 90, 255 - 20 * number)).save(root / name)
        os.utime(root / name, (number, number))
        lines.append(json.dumps({"file_name": name, "even": number % 2 == 0}))
    (root / "metadata.jsonl").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def server(nano_untouched: SentenceTransformer, folder: Path) -> Iterator[Running]:
    index, _ = build_index(folder.parent / "index", nano_untouched, folder, options=BuildOptions(progress=False))
    with running(nano_untouched, AppOptions(index=index)) as found:
        yield found


def paths(server: Running, **body: Any) -> list[str]:
    response = server.client.post("/v1/search", json=body)
    assert response.status_code == 200, response.text
    return [hit["path"] for hit in response.json()["results"]]


def folders(server: Running, under: str = "") -> list[tuple[str, int, bool]]:
    found = server.client.get("/v1/folders", params={"under": under}).json()
    assert found["left_out"] == 0
    return [(each["name"], each["count"], each["folders"]) for each in found["data"]]


def test_a_random_order_goes_on_from_page_to_page(server: Running) -> None:
    whole = paths(server, seed=3)
    assert len(set(whole)) == 12
    assert whole != paths(server) != paths(server, seed=4)
    assert [*paths(server, seed=3, limit=5), *paths(server, seed=3, limit=7, offset=5)] == whole
    assert paths(server, seed=3, filter="even = true") == [path for path in whole if int(path[-6:-4]) % 2 == 0]


def test_the_newest_first(server: Running) -> None:
    assert [path[-6:-4] for path in paths(server, sort="-modified")] == [f"{number:02}" for number in range(11, -1, -1)]


def test_folders_and_the_filter_that_they_are(server: Running) -> None:
    assert folders(server) == [("many", 8, True), ("plain", 4, False)]
    assert folders(server, "many/") == [("a", 4, False), ("b", 4, False)]
    assert paths(server, filter={"path": {"starts": "many/a/"}}) == [f"many/a/{n:02}.png" for n in (1, 4, 7, 10)]


@pytest.mark.parametrize(
    "body",
    [{"seed": 1, "sort": "even"}, {"seed": 1, "text": "red"}, {"seed": -1}, {"seed": 2**31}, {"sort": "nonsense"}],
)
def test_what_makes_no_sense_is_refused(server: Running, body: dict[str, Any]) -> None:
    assert server.client.post("/v1/search", json=body).status_code == 400


def test_a_folder_of_no_reasonable_name_is_refused(server: Running) -> None:
    assert server.client.get("/v1/folders", params={"under": "a" * 5000}).status_code == 400
