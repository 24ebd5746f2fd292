"""The server does what its OpenAPI says: no request made from it ends in a 5xx or an answer of another form."""

import json
from collections.abc import Iterator

import hypothesis
import pytest
import schemathesis
from PIL import Image
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sentence_transformers import SentenceTransformer

from llave import build_index
from llave.search.options import BuildOptions
from llave.serving.app import AppOptions
from llave.serving.engine import Engine
from llave.serving.limits import Limits
from tests.serving.rerankers import bert, qwen
from tests.serving.running import Running, running

CHECKS = (not_a_server_error, response_schema_conformance, status_code_conformance, content_type_conformance)


@pytest.fixture(scope="module")
def server(nano_untouched: SentenceTransformer) -> Iterator[Running]:
    with running(nano_untouched, AppOptions(limits=Limits(items=16))) as found:
        yield found


@pytest.fixture(scope="module")
def ranking(nano_untouched: SentenceTransformer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The same with rerankers."""
    rerankers = [make(tmp_path_factory.mktemp("reranker")) for make in (bert, qwen)]
    engines = [Engine(nano_untouched, name="nano"), *rerankers]
    with running(engines, AppOptions(limits=Limits(items=16))) as found:
        yield found


@pytest.fixture(scope="module")
def searched(nano_untouched: SentenceTransformer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The same with an index."""
    folder = tmp_path_factory.mktemp("described") / "things"
    folder.mkdir()
    for colour in ("red", "green"):
        Image.new("RGB", (50, 40), colour).save(folder / f"{colour}.png")
    (folder / "metadata.csv").write_text("file_name,colour,year\nred.png,red,1990\ngreen.png,green,2001\n")
    index, _ = build_index(folder.parent / "index", nano_untouched, folder, options=BuildOptions(progress=False))
    with running(nano_untouched, AppOptions(limits=Limits(items=16), index=index)) as found:
        yield found


@pytest.mark.parametrize("name", ["server", "searched", "ranking"])
def test_no_request_breaks_it(request: pytest.FixtureRequest, name: str) -> None:
    server: Running = request.getfixturevalue(name)
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    tried: dict[str, set[int]] = {}
    for found in schema.get_all_operations():
        operation = found.ok()

        @hypothesis.settings(
            max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
        )
        @hypothesis.given(case=operation.as_strategy())
        def try_it(case: schemathesis.Case) -> None:
            response = case.call()
            case.validate_response(response, checks=CHECKS)
            tried.setdefault(f"{case.method} {case.path}", set()).add(response.status_code)
            if response.status_code >= 400:
                assert set(response.json()["error"]) == {"message", "type", "param", "code"}

        try_it()
    assert len(tried) >= 13
    assert 200 in tried["POST /v1/embeddings"]
    assert (200 in tried["POST /v1/search"]) == (name == "searched")
    for route in ("/v1/rerank", "/rerank", "/v2/rerank"):
        assert (200 in tried[f"POST {route}"]) == (name == "ranking")
    assert server.vectors("still here")


def test_the_schema_is_whole(server: Running) -> None:
    found = server.client.get("/openapi.json").json()
    text = json.dumps(found)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in found["components"]["schemas"], name
    body = found["paths"]["/v1/embeddings"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    assert "HTTPValidationError" not in text
