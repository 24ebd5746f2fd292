"""Clients that people have, as they are: Cohere's own, of both versions of its API, and LangChain's reranker."""

import asyncio
from collections.abc import Iterator

import cohere
import numpy as np
import pytest
from langchain_cohere import CohereRerank
from langchain_core.documents import Document
from sentence_transformers import CrossEncoder

from llave.serving.app import AppOptions
from llave.serving.gates.auth import Keys
from tests.serving.rerankers import bert
from tests.serving.running import Running, running

KEY = "a-key-for-this-test"
QUERY, DOCUMENTS = "the red fox", ["rain", "a red fox", "an umbrella in the rain", "a cat and a dog"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(bert(tmp_path_factory.mktemp("bert")), AppOptions(keys=Keys([KEY]))) as found:
        yield found


@pytest.fixture
def wanted(server: Running) -> list[float]:
    model: CrossEncoder = server.app.state.service.rerankers[0].engine.model
    found: list[float] = model.predict([[QUERY, document] for document in DOCUMENTS]).tolist()
    return found


def matches(found: list[tuple[int, float]], wanted: list[float], count: int) -> None:
    assert [place for place, _ in found] == np.argsort(wanted)[::-1][:count].tolist()
    np.testing.assert_allclose([score for _, score in found], sorted(wanted, reverse=True)[:count], atol=1e-5)


def test_cohere_v2(server: Running, wanted: list[float]) -> None:
    client = cohere.ClientV2(KEY, base_url=server.url)
    found = client.rerank(model="bert", query=QUERY, documents=DOCUMENTS, top_n=3, max_tokens_per_doc=100)
    matches([(row.index, row.relevance_score) for row in found.results], wanted, 3)
    assert found.id
    assert found.meta is not None
    assert found.meta.api_version is not None
    assert found.meta.api_version.version == "2"
    assert found.meta.billed_units is not None
    assert found.meta.billed_units.search_units == 1
    with pytest.raises(cohere.NotFoundError, match="only 'bert'"):
        client.rerank(model="rerank-v3.5", query=QUERY, documents=DOCUMENTS)
    with pytest.raises(cohere.BadRequestError, match=r"documents\[1\]"):
        client.rerank(model="bert", query=QUERY, documents=["a", ""])
    with pytest.raises(cohere.UnauthorizedError):
        cohere.ClientV2("another-key", base_url=server.url).rerank(model="bert", query=QUERY, documents=DOCUMENTS)


def test_cohere_v1(server: Running, wanted: list[float]) -> None:
    """It asks ``/v1/rerank``."""
    client = cohere.Client(KEY, base_url=server.url)
    found = client.rerank(query=QUERY, documents=DOCUMENTS)
    matches([(row.index, row.relevance_score) for row in found.results], wanted, 4)
    objects = [{"text": text} for text in DOCUMENTS]
    repeated = client.rerank(model="bert", query=QUERY, documents=objects, top_n=2, return_documents=True)
    matches([(row.index, row.relevance_score) for row in repeated.results], wanted, 2)
    for row in repeated.results:
        assert row.document is not None
        assert row.document.text == DOCUMENTS[row.index]


def test_cohere_async(server: Running, wanted: list[float]) -> None:
    async def ask() -> None:
        async with cohere.AsyncClientV2(KEY, base_url=server.url) as client:
            asked = [client.rerank(model="bert", query=QUERY, documents=DOCUMENTS) for _ in range(8)]
            for found in await asyncio.gather(*asked):
                matches([(row.index, row.relevance_score) for row in found.results], wanted, 4)

    asyncio.run(ask())


def test_langchain(server: Running, wanted: list[float]) -> None:
    reranker = CohereRerank(model="bert", cohere_api_key=KEY, base_url=server.url, top_n=2)  # type: ignore[arg-type]
    documents = [Document(text, metadata={"place": place}) for place, text in enumerate(DOCUMENTS)]
    found = reranker.compress_documents(documents, QUERY)
    matches([(one.metadata["place"], one.metadata["relevance_score"]) for one in found], wanted, 2)
    assert [one.page_content for one in found] == [DOCUMENTS[one.metadata["place"]] for one in found]
    rows = reranker.rerank(documents, QUERY, top_n=None, max_tokens_per_doc=4000)
    matches([(row["index"], row["relevance_score"]) for row in rows], wanted, 4)
