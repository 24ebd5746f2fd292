"""A second index, of another model, is asked beside the first one."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave import build_index
from llave.cli.serve import ServeConfig, run, with_defaults
from llave.errors import UserError
from llave.search.index import Index
from llave.search.options import BuildOptions
from llave.search.query import embed_query
from llave.serving.app import AppOptions
from llave.serving.engine import Engine
from tests.serving.running import Running, encoded, running


@pytest.fixture(scope="module")
def indexes(
    nano_untouched: SentenceTransformer, retrained: SentenceTransformer, tmp_path_factory: pytest.TempPathFactory
) -> list[Index]:
    folder = tmp_path_factory.mktemp("beside") / "things"
    folder.mkdir()
    for number in range(12):
        shade = 20 * number
        (folder / f"{number:02}.png").write_bytes(encoded(Image.new("RGB", (40, 30), (shade, 120, 255 - shade))))
    options = BuildOptions(progress=False)
    return [
        build_index(folder.parent / f"index{place}", model, folder, options=options)[0]
        for place, model in enumerate((nano_untouched, retrained))
    ]


@pytest.fixture(scope="module")
def server(
    nano_untouched: SentenceTransformer, retrained: SentenceTransformer, indexes: list[Index]
) -> Iterator[Running]:
    engines = [Engine(nano_untouched, name="nano"), Engine(retrained, name="other")]
    with running(engines, AppOptions(index=indexes[0], beside=indexes[1])) as found:
        yield found


def test_each_index_is_asked_with_its_own_model(
    server: Running, indexes: list[Index], nano_untouched: SentenceTransformer, retrained: SentenceTransformer
) -> None:
    for number, model in ((1, nano_untouched), (2, retrained)):
        body = {"text": "something blue", "mode": "vector"}
        found = server.client.post(f"/v1/search?index={number}", json=body).json()["results"]
        wanted = indexes[number - 1].search(embed_query(model, query="something blue"), mode="vector")
        assert [hit["id"] for hit in found] == [hit.id for hit in wanted]
        np.testing.assert_allclose([hit["score"] for hit in found], [hit.score for hit in wanted], atol=1e-5)


def test_equal_items_have_equal_ids_and_pictures_of_their_own(server: Running) -> None:
    one, two = (server.client.post(f"/v1/search?index={number}", json={}).json()["results"] for number in (1, 2))
    assert [hit["id"] for hit in one] == [hit["id"] for hit in two]
    assert two[0]["thumbnail"].endswith("&index=2")
    for what in ("thumbnail", "content"):
        assert server.client.get(two[0][what]).status_code == 200


def test_the_first_index_names_the_model_of_the_other(server: Running, indexes: list[Index]) -> None:
    found = [server.client.get(f"/v1/index?index={number}").json() for number in (1, 2)]
    assert found[0]["beside"] == Path(indexes[1].info.model).name
    assert found[1]["beside"] is None
    assert server.client.get("/v1/index?index=3").status_code == 400


def test_without_a_second_index(nano_untouched: SentenceTransformer, indexes: list[Index]) -> None:
    with running(nano_untouched, AppOptions(index=indexes[0])) as server:
        assert server.client.get("/v1/index").json()["beside"] is None
        assert server.client.get("/v1/index?index=2").status_code == 404


def test_the_models_are_those_of_both_indexes(indexes: list[Index], tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(indexes[1].path, copied)
    about = json.loads((copied / "index.json").read_text())
    (copied / "index.json").write_text(json.dumps({**about, "model": "another"}))
    config = with_defaults(ServeConfig(index=indexes[0].path, beside=copied))
    assert config.model == [indexes[0].info.model, "another"]


def test_an_index_beside_none_is_refused() -> None:
    with pytest.raises(UserError, match="--index"):
        run(["nano", "--beside", "somewhere"])
