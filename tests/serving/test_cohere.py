"""``/v2/embed``: Cohere's request and answer."""

import base64
from typing import Any

import numpy as np
import pytest
from PIL import Image

from llave.serving.schema import CohereRequest
from tests.serving.running import Running, encoded


def ask(server: Running, **body: Any) -> Any:
    response = server.client.post("/v2/embed", json={"model": "nano", "input_type": "search_document", **body})
    assert response.status_code == 200, response.text
    return response.json()


def test_every_type_of_a_vector(server: Running) -> None:
    kinds = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    answer = ask(server, texts=["rain", "snow"], embedding_types=kinds)
    assert (answer["response_type"], answer["texts"]) == ("embeddings_by_type", ["rain", "snow"])
    found = {kind: answer["embeddings"][kind] for kind in kinds}
    exact = np.array(found["float"], np.float32)
    np.testing.assert_allclose(exact, server.vectors(["rain", "snow"], input_type="document"), atol=1e-6)
    coded = np.stack([np.frombuffer(base64.b64decode(text), "<f4") for text in found["base64"]])
    np.testing.assert_array_equal(coded, exact)
    int8, uint8 = np.array(found["int8"]), np.array(found["uint8"])
    assert np.abs(int8).max() == 127
    np.testing.assert_array_equal(uint8, int8 + 128)
    cosine = (int8 * exact).sum(1) / np.linalg.norm(int8, axis=1)
    assert cosine.min() > 0.9995
    ubinary, binary = np.array(found["ubinary"]), np.array(found["binary"])
    assert ubinary.shape == (2, 48)
    np.testing.assert_array_equal(np.unpackbits(ubinary.astype(np.uint8), axis=1), exact > 0)
    np.testing.assert_array_equal(binary, ubinary - 128)


def test_images_and_mixed_inputs(server: Running) -> None:
    image = "data:image/png;base64," + base64.b64encode(encoded(Image.new("RGB", (50, 40), "red"))).decode()
    alone = ask(server, images=[image], input_type="image")
    np.testing.assert_allclose(alone["embeddings"]["float"], server.vectors([{"image": image}]), atol=1e-6)
    assert alone["meta"]["billed_units"]["images"] == 1
    content = [{"type": "image_url", "image_url": {"url": image}}, {"type": "text", "text": "a drawing"}]
    mixed = ask(server, inputs=[{"content": content}, {"content": content[1:]}], input_type="search_query")
    wanted = server.vectors([{"image": image, "text": "a drawing"}, "a drawing"], input_type="query")
    np.testing.assert_allclose(mixed["embeddings"]["float"], wanted, atol=1e-6)


def test_null_is_a_fields_default(server: Running) -> None:
    optional = {name for name, field in CohereRequest.model_fields.items() if not field.is_required()} - {"texts"}
    plain, nulls = ask(server, texts=["rain"]), ask(server, texts=["rain"], **dict.fromkeys(optional))
    assert nulls["embeddings"] == plain["embeddings"]
    assert len(optional) >= 7


def test_shorter_vectors(server: Running) -> None:
    found = ask(server, texts=["rain"], output_dimension=64)["embeddings"]["float"]
    np.testing.assert_allclose(found, server.vectors("rain", dimensions=64, input_type="document"), atol=1e-6)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"texts": ["a"] * 97}, 400, "texts"),
        ({"texts": []}, 400, "texts"),
        ({"texts": ["a", ""]}, 400, "texts[1]"),
        ({"texts": ["a"], "images": ["b"]}, 400, None),
        ({}, 400, None),
        ({"texts": ["a"], "input_type": "other"}, 400, "input_type"),
        ({"texts": ["a"], "input_type": None}, 400, "input_type"),
        ({"texts": ["a"], "model": "embed-v4.0"}, 404, "model"),
        ({"texts": ["a"], "output_dimension": 65}, 400, "output_dimension"),
        ({"texts": ["a"], "embedding_types": ["int4"]}, 400, "embedding_types[0]"),
        ({"texts": ["word " * 300], "truncate": "NONE"}, 400, "texts[0]"),
        ({"texts": ["a"], "truncate": "START"}, 400, "truncate"),
        ({"images": ["a"]}, 400, "images[0]"),
        ({"inputs": [{"content": [{"type": "text", "text": "a"}] * 2}, {"content": []}]}, 400, "inputs[1].content"),
    ],
)
def test_what_is_wrong_is_named(server: Running, body: dict[str, Any], status: int, param: str | None) -> None:
    response = server.client.post("/v2/embed", json={"model": "nano", "input_type": "search_query", **body})
    assert (response.status_code, response.json()["error"]["param"]) == (status, param), response.text
