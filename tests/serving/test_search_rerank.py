"""``/v1/search`` with a reranker: the order is that of its scores, and a hit that it cannot score costs itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sentence_transformers import CrossEncoder, SentenceTransformer

from llave.collection.open import open_collection
from llave.rerank.reranker import Reranker
from llave.search.index import Index
from llave.search.info import index_info
from llave.search.options import BuildOptions
from llave.search.update import update_index
from llave.serving.app import AppOptions
from llave.serving.engine import Engine
from tests.serving.rerankers import bert, qwen
from tests.serving.running import Running, running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reranked") / "folder"
    root.mkdir()
    for number in range(4):
        Image.new("RGB", (60, 40 + number), (250 - 60 * number, 30, 10)).save(root / f"{number}.png")
    for number, text in enumerate(("a red fox", "an umbrella in the rain", "a green garden")):
        (root / f"{number}.txt").write_text(text)
    return root


@pytest.fixture(scope="module")
def index(nano_untouched: SentenceTransformer, folder: Path) -> Index:
    made = Index.create(folder.parent / "index", index_info(nano_untouched, "nano"))
    report = update_index(made, nano_untouched, open_collection(folder), folder, BuildOptions(progress=False))
    assert report.added == 7
    return made


@pytest.fixture(scope="module")
def server(
    nano_untouched: SentenceTransformer, index: Index, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folders = [tmp_path_factory.mktemp(name) for name in ("bert", "qwen")]
    engines = [qwen(folders[1]), Engine(nano_untouched, name="nano"), bert(folders[0])]
    with running(engines, AppOptions(index=index)) as found:
        yield found


def ask(server: Running, **body: Any) -> Any:
    response = server.client.post("/v1/search", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def model(server: Running, name: str) -> CrossEncoder:
    served = {one.engine.name: one.engine for one in server.app.state.service.rerankers}
    found: CrossEncoder = served[name].model
    return found


def test_the_order_is_the_rerankers(server: Running, index: Index) -> None:
    found = ask(server, text="a fox in the rain", rerank="qwen", top=5)
    wanted = index.search(
        index.search("a fox in the rain", limit=1) and index.use_model().encode(["a fox in the rain"])[0],
        words="a fox in the rain",
        rerank=Reranker(model(server, "qwen")),
        top=5,
    )
    assert [hit["id"] for hit in found["results"]] == [hit.id for hit in wanted]
    for one, hit in zip(found["results"][:5], wanted, strict=False):
        assert one["scores"]["rerank"] == pytest.approx(hit.scores["rerank"], abs=1e-4)
        assert one["score"] == pytest.approx(hit.score, abs=1e-4)
    assert [hit["ranks"]["rerank"] for hit in found["results"]] == [1, 2, 3, 4, 5, 6, 7]
    assert "rerank" not in found["results"][-1]["scores"]
    assert found["stages"]["rerank"] > 0
    assert ask(server, text="a fox in the rain", rerank=True, top=5)["results"] == found["results"]  # the first one
    assert "rerank" not in ask(server, text="a fox in the rain")["stages"]


def test_what_it_does_not_take_follows_in_its_order(server: Running) -> None:
    found = ask(server, text="umbrella", rerank="bert")["results"]  # texts alone
    plain = [hit["id"] for hit in ask(server, text="umbrella")["results"] if hit["kind"] == "image"]
    assert [hit["kind"] for hit in found] == ["text"] * 3 + ["image"] * 4
    assert [hit["id"] for hit in found[3:]] == plain


def test_a_file_that_is_gone_costs_itself(server: Running, folder: Path) -> None:
    kept = (folder / "2.png").read_bytes()
    (folder / "2.png").unlink()
    try:
        found = ask(server, text="red", rerank="qwen")["results"]
    finally:
        (folder / "2.png").write_bytes(kept)
    assert len(found) == 7
    assert found[-1]["path"] == "2.png"
    assert "rerank" not in found[-1]["scores"]


def test_what_cannot_be_reranked(server: Running) -> None:
    for body, status, code in (
        ({"rerank": True}, 400, "rerank"),
        ({"text": "x", "rerank": "nobody"}, 404, None),
        ({"text": "x", "rerank": True, "top": 0}, 400, "top"),
    ):
        response = server.client.post("/v1/search", json=body)
        assert response.status_code == status, response.text
        if code is not None:
            assert response.json()["error"]["param"] == code
