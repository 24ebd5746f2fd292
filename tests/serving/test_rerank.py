"""``/v1/rerank``, ``/v2/rerank`` and ``/score``: scores are ``CrossEncoder.predict``'s, the best first."""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sentence_transformers import CrossEncoder, SentenceTransformer

from llave.data.images import load_image
from llave.serving.app import AppOptions
from llave.serving.engine import Engine
from llave.serving.limits import Limits
from llave.serving.rerank_engine import RerankEngine
from llave.serving.routes.rerank import ranking
from llave.serving.schema_rerank import RerankRequest
from tests.serving.rerankers import bert, judge, qwen
from tests.serving.running import Running, encoded, running

Picture = Callable[[int], Image.Image]
TEXTS = ["rain", "a red fox", "an umbrella in the rain", "photo.jpg", "https://example.org/a", "fox " * 300, "rain"]


@pytest.fixture(scope="module")
def server(nano_untouched: SentenceTransformer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folders = [tmp_path_factory.mktemp(name) for name in ("bert", "qwen")]
    engines = [bert(folders[0]), Engine(nano_untouched, name="nano"), qwen(folders[1]), judge()]
    with running(engines, AppOptions(limits=Limits(items=64))) as found:
        yield found


def model(server: Running, name: str = "bert") -> CrossEncoder:
    served = {one.engine.name: one.engine for one in server.app.state.service.rerankers}
    engine: RerankEngine = served[name]
    return engine.model


def predicted(server: Running, query: Any, documents: list[Any], name: str = "bert") -> list[float]:
    found: list[float] = model(server, name).predict([[query, document] for document in documents]).tolist()
    return found


def ask(server: Running, query: Any, documents: Any, path: str = "/v1/rerank", **options: Any) -> Any:
    response = server.client.post(path, json={"query": query, "documents": documents, **options})
    assert response.status_code == 200, response.text
    return response.json()


def scores(answer: Any) -> list[float]:
    """In the order of the documents."""
    found = {row["index"]: row["relevance_score"] for row in answer["results"]}
    assert sorted(found) == list(range(len(found)))
    return [found[index] for index in sorted(found)]


def close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), atol=1e-5)


def data_uri(image: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(encoded(image)).decode()


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/v2/rerank"])
def test_texts(server: Running, path: str) -> None:
    answer = ask(server, "the red fox", TEXTS, path, model="bert")
    wanted = predicted(server, "the red fox", TEXTS)
    served = scores(answer)
    close(served, wanted)
    order = [row["index"] for row in answer["results"]]
    assert order == sorted(range(len(TEXTS)), key=lambda place: (-served[place], place))
    assert order.index(0) + 1 == order.index(6)  # equal ones in their order
    assert max(wanted) - min(wanted) > 0.05
    if path == "/v2/rerank":
        assert set(answer) == {"id", "results", "meta"}
        assert all(set(row) == {"index", "relevance_score"} for row in answer["results"])
        assert answer["meta"]["billed_units"] == {"search_units": 1}
    else:
        assert set(answer) == {"id", "model", "usage", "results"}
        assert answer["model"] == "bert"
        assert all(row["document"] == {"text": TEXTS[row["index"]]} for row in answer["results"])
        assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 125


def test_the_best_ones(server: Running) -> None:
    whole = ask(server, "the red fox", TEXTS)["results"]
    for top_n, count in ((1, 1), (3, 3), (0, 7), (None, 7), (100, 7)):
        assert ask(server, "the red fox", TEXTS, top_n=top_n)["results"] == whole[:count]
    bare = ask(server, "the red fox", TEXTS, top_n=2, return_documents=False)["results"]
    assert bare == [{key: row[key] for key in ("index", "relevance_score")} for row in whole[:2]]
    assert ask(server, "the red fox", TEXTS, "/v2/rerank", return_documents=True)["results"] == whole
    assert ranking([0.5, 2.0, 0.5, -1.0], 3) == [1, 0, 2]


def test_forms_of_a_document(server: Running) -> None:
    forms = ["a fox", {"text": "a fox"}, {"content": "a fox"}, {"content": [{"type": "text", "text": "a fox"}]}]
    answer = ask(server, {"text": "the red fox"}, forms)
    close(scores(answer), predicted(server, "the red fox", ["a fox"]) * 4)
    assert {row["document"]["text"] for row in answer["results"]} == {"a fox"}
    nulls = dict.fromkeys(set(RerankRequest.model_fields) - {"query", "documents"})
    assert ask(server, "the red fox", forms, **nulls)["results"] == answer["results"]
    assert len(nulls) >= 10


@pytest.mark.parametrize("name", ["qwen", "judge"])
def test_pictures_and_texts_in_any_mix(server: Running, picture: Picture, name: str) -> None:
    """Jina's, vLLM's and Cohere's ways to send a picture, as documents and as a query."""
    images = [load_image(encoded(picture(number))) for number in range(3)]
    uris = [data_uri(image) for image in images]
    documents = [
        {"image": uris[0]},
        "a red fox",
        {"content": [{"type": "image_url", "image_url": {"url": uris[1]}}]},
        {"text": "in blue", "image": uris[2]},
        {"content": [{"type": "text", "text": "in blue"}, {"type": "image_url", "image_url": uris[2]}]},
        {"image": base64.b64encode(encoded(images[0])).decode()},
    ]
    fused = {"image": images[2], "text": "in blue"}
    inputs = [images[0], "a red fox", images[1], fused, fused, images[0]]
    for query, loaded in (("a fox", "a fox"), ({"image": uris[1]}, images[1]), (documents[3], fused)):
        wanted = [predicted(server, loaded, [one], name)[0] for one in inputs]
        answer = ask(server, query, documents, model=name)
        close(scores(answer), wanted)
        close(scores(ask(server, query, documents, "/v2/rerank", model=name)), wanted)
        repeated = {row["index"]: row["document"]["text"] for row in answer["results"]}
        assert repeated == {0: None, 1: "a red fox", 2: None, 3: "in blue", 4: "in blue", 5: None}
    assert len({round(value, 5) for value in wanted}) == 4


def test_many_at_once_are_each_as_alone(server: Running, picture: Picture) -> None:
    """Batches hold pairs of several requests, of texts and of pictures."""
    queries = ["the red fox", "rain", "a dog and a cat in the rain"]
    documents = [f"{'word ' * (number % 13)}number {number}" for number in range(30)]
    images = [load_image(encoded(picture(number))) for number in range(4)]
    wanted = {query: predicted(server, query, documents) for query in queries}
    seen = {query: [predicted(server, query, [image], "qwen")[0] for image in images] for query in queries}
    uris = [{"image": data_uri(image)} for image in images]

    def one(number: int) -> None:
        query = queries[number % 3]
        if number % 2:
            close(scores(ask(server, query, documents, model="bert")), wanted[query])
        else:
            close(scores(ask(server, query, uris, model="qwen")), seen[query])

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(one, range(24)))


def test_equal_pairs_pass_the_model_once(server: Running) -> None:
    def counted() -> float:
        page = server.client.get("/metrics").text
        return float(page.split("\nllave_items_deduplicated_total ")[1].split()[0])

    before = counted()
    close(scores(ask(server, "fox", ["a dog"] * 5)), predicted(server, "fox", ["a dog"] * 5))
    assert counted() - before == 4
    page = server.client.get("/metrics").text
    assert 'llave_items_total{kind="text pair",outcome="encoded"}' in page
    assert 'llave_batch_items_count{kind="text pair"}' in page


def test_long_texts(server: Running) -> None:
    """A pair that is too long loses the end of its longer text, as in the model; or is an error."""
    long = "umbrella " * 400
    close(scores(ask(server, "fox", [long, "fox"])), predicted(server, "fox", [long, "fox"]))
    close(scores(ask(server, long, ["fox", "dog"])), predicted(server, long, ["fox", "dog"]))
    refused = server.client.post("/v1/rerank", json={"query": "fox", "documents": ["fox", long], "truncate": False})
    error = refused.json()["error"]
    assert (refused.status_code, error["param"], error["code"]) == (400, "documents[1]", "context_length_exceeded")
    five = predicted(server, "fox", ["the red dog in the", "rain"])
    close(scores(ask(server, "fox", ["the red dog in the rain", "rain"], max_tokens_per_doc=5)), five)
    usage = ask(server, "fox", ["a b c", "d"], max_tokens_per_doc=2)["usage"]
    assert usage["total_tokens"] == (1 + 2) + (1 + 1)


def test_a_bad_picture_is_named_and_harms_no_neighbour(server: Running, picture: Picture) -> None:
    good = picture(5)
    [wanted] = predicted(server, "a fox", [load_image(encoded(good))], "qwen")
    broken = "data:image/png;base64," + base64.b64encode(encoded(good)[:200]).decode()
    documents = [{"image": data_uri(good)}, "beside", {"image": broken}]

    def one(number: int) -> Any:
        given = documents if number % 2 else documents[:1]
        return server.client.post("/v1/rerank", json={"query": "a fox", "documents": given, "model": "qwen"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(16)))
    for number, response in enumerate(answers):
        if number % 2:
            assert (response.status_code, response.json()["error"]["param"]) == (400, "documents[2]")
            assert response.json()["error"]["code"] == "invalid_image"
        else:
            close(scores(response.json()), [wanted])


def test_scores_of_pairs(server: Running, picture: Picture) -> None:
    """vLLM's names of both sides; one with many, or one with one."""
    wanted = predicted(server, "fox", ["a dog", "rain"])

    def score(**body: Any) -> list[float]:
        response = server.client.post("/score", json=body)
        assert response.status_code == 200, response.text
        answer = response.json()
        assert [row["index"] for row in answer["data"]] == list(range(len(answer["data"])))
        return [row["score"] for row in answer["data"]]

    close(score(text_1="fox", text_2=["a dog", "rain"]), wanted)
    close(score(queries=["fox"], documents=["a dog", "rain"]), wanted)
    close(score(queries="fox", items="rain"), wanted[1:])
    again = server.client.post("/v1/score", json={"text_1": "fox", "text_2": "rain"}).json()
    close(again["data"][0]["score"], wanted[1])
    crossed = [predicted(server, "fox", ["rain"])[0], predicted(server, "dog", ["a cat"])[0]]
    close(score(data_1=["fox", "dog"], data_2=["rain", "a cat"]), crossed)
    image = picture(2)
    part = {"content": [{"type": "image_url", "image_url": {"url": data_uri(image)}}]}
    seen = load_image(encoded(image))
    both = predicted(server, seen, [seen], "qwen") + predicted(server, "fox", [seen], "qwen")
    close(score(data_1=[part, "fox"], data_2=[part, part], model="qwen"), both)
    for body, param in (
        ({"text_1": ["a", "b"], "text_2": ["c"]}, "text_1"),
        ({"text_1": "a"}, None),
        ({"text_1": "a", "queries": "b", "text_2": "c"}, None),
        ({"text_1": "a", "text_2": []}, "text_2"),
        ({"text_1": "a", "text_2": ["b", ""]}, "text_2[1]"),
        ({"text_1": "a", "text_2": ["b"] * 65}, "text_2"),
    ):
        refused = server.client.post("/score", json=body)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, param), refused.text


def test_names(server: Running) -> None:
    for name in (None, "bert", "also/bert"):
        assert ask(server, "a", ["b"], model=name)["model"] == "bert"
    assert ask(server, "a", ["b"], model="qwen")["model"] == "qwen"
    cards = server.client.get("/v1/models").json()["data"]
    assert [(card["id"], card["task"], card["dimension"]) for card in cards] == [
        ("nano", "embed", 384),
        ("bert", "rerank", None),
        ("qwen", "rerank", None),
        ("judge", "rerank", None),
    ]
    assert server.client.get("/v1/models/also/bert").json()["modalities"] == ["text"]
    assert server.client.get("/v1/models/nano").json()["id"] == "nano"
    for path, body, words in (
        ("/v1/rerank", {"query": "a", "documents": ["b"], "model": "rerank-v3.5"}, "only 'bert', 'qwen', 'judge'"),
        ("/v1/rerank", {"query": "a", "documents": ["b"], "model": "nano"}, "no reranker; ask /v1/embeddings"),
        ("/v1/embeddings", {"input": "a", "model": "bert"}, "a reranker; ask /v1/rerank"),
    ):
        error = server.client.post(path, json=body)
        assert (error.status_code, error.json()["error"]["code"]) == (404, "model_not_found")
        assert words in error.json()["error"]["message"]


def test_curl(server: Running) -> None:
    body = json.dumps({"query": "the red fox", "documents": ["rain", "a red fox"], "top_n": 1})
    words = ["curl", "-sS", "--noproxy", "*", f"{server.url}/v1/rerank", "-H", "content-type: application/json"]
    shown = subprocess.run([*words, "-d", body], capture_output=True, check=True)
    [best] = json.loads(shown.stdout)["results"]
    wanted = predicted(server, "the red fox", ["rain", "a red fox"])
    assert best["index"] == int(np.argmax(wanted))
    close(best["relevance_score"], max(wanted))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "query"),
        ({"query": "a"}, "documents"),
        ({"query": "a", "documents": []}, "documents"),
        ({"query": "a", "documents": "b"}, "documents"),
        ({"query": "a", "documents": ["b"] * 65}, "documents"),
        ({"query": "a", "documents": ["b", ""]}, "documents[1]"),
        ({"query": "a", "documents": ["b", 3]}, "documents[1]"),
        ({"query": "a", "documents": ["b", {}]}, "documents[1]"),
        ({"query": "a", "documents": ["b", {"title": "c"}]}, "documents[1].title"),
        ({"query": "a", "documents": ["b", "c" * 200_001]}, "documents[1]"),
        ({"query": "a" * 200_001, "documents": ["b"]}, "query"),
        ({"query": " ", "documents": ["b"]}, "query"),
        ({"query": 3, "documents": ["b"]}, "query"),
        ({"query": ["a"], "documents": ["b"]}, "query"),
        ({"query": "a", "documents": ["b"], "top_n": -1}, "top_n"),
        ({"query": "a", "documents": ["b"], "top_n": "1"}, "top_n"),
        ({"query": "a", "documents": ["b"], "max_tokens_per_doc": 0}, "max_tokens_per_doc"),
        ({"query": "a", "documents": ["b"], "rank_fields": ["text"]}, "rank_fields"),
        ({"query": "a", "documents": ["b"], "topn": 1}, "topn"),
        ({"query": "a", "documents": ["b", {"image": "aGk="}]}, "documents[1]"),
        ({"query": {"image": "aGk="}, "documents": ["b"], "model": "qwen"}, "query"),
        ({"query": "a", "documents": ["b", {"image": "https://example.org/a.png"}], "model": "qwen"}, "documents[1]"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_what_is_wrong_is_named(server: Running, path: str, body: dict[str, Any], param: str | None) -> None:
    response = server.client.post(path, json=body)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, param), response.text
    assert set(error) == {"message", "type", "param", "code"}


def test_without_a_reranker_or_without_a_model(nano_untouched: SentenceTransformer, tmp_path: Any) -> None:
    with running(nano_untouched) as server:
        refused = server.client.post("/v1/rerank", json={"query": "a", "documents": ["b"]})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "no_reranker")
    with running(bert(tmp_path)) as server:
        assert ask(server, "a", ["b"])["model"] == "bert"
        assert [card["id"] for card in server.client.get("/v1/models").json()["data"]] == ["bert"]
        refused = server.embed("a")
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "no_model")
        assert server.client.post("/v1/search", json={}).status_code == 404
