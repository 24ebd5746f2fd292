"""``/v1/embeddings``: every form of an item gives the vector that ``model.encode`` gives for it."""

import base64
import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from langchain_openai import OpenAIEmbeddings
from PIL import Image

from llave.data.images import load_image
from llave.data.video import load_video
from llave.models.prompts import stack_frames
from llave.serving.schema import EmbeddingRequest
from tests.data.films import frames, write_film
from tests.data.test_inline import FORMS
from tests.serving.running import Running, encoded

Picture = Callable[[int], Image.Image]


def data_uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64," + base64.b64encode(data).decode()


def expected(server: Running, items: list[Any], **options: Any) -> Any:
    return server.engine.model.encode(items, normalize_embeddings=True, show_progress_bar=False, **options)


def close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), atol=1e-5)


def test_texts_alone_and_together(server: Running) -> None:
    texts = ["a red umbrella", "rain", "a rather longer sentence about an umbrella in the rain", "photo.jpg"]
    wanted = expected(server, [*texts[:3], {"text": "photo.jpg"}])
    close(server.vectors(texts), wanted)
    for text, vector in zip(texts, wanted, strict=True):
        close(server.vectors(text), [vector])


def test_of_a_long_text_only_what_the_model_reads_is_taken_apart(server: Running) -> None:
    tokens = server.engine.tokens
    assert tokens.longest is not None
    most = tokens.longest * 100
    words = " ".join(f"word{number}" for number in range(20_000))
    assert len(tokens.beginning(words)) < most
    assert tokens.beginning("short") == "short"
    for text in (
        words,
        " " * 100_000 + "the end",
        "a" * 100_000,
        "\u200b" * 50_000 + "b",
        "umbrella" * 9000,
        "é" * 90_000,
    ):
        close(server.vectors(text), expected(server, [text]))


def test_float_and_base64_are_the_same_numbers(server: Running) -> None:
    texts = ["one", "two"]
    numbers = np.array(server.vectors(texts), dtype=np.float32)
    coded = server.vectors(texts, encoding_format="base64")
    decoded = np.stack([np.frombuffer(base64.b64decode(str(text)), "<f4") for text in coded])
    np.testing.assert_array_equal(numbers, decoded)


def test_token_ids_are_their_text(server: Running) -> None:
    tokenizer = server.engine.model.tokenizer
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in ("a red umbrella", "rain")]
    wanted = expected(server, ["a red umbrella", "rain"])
    close(server.vectors(ids), wanted)
    close(server.vectors(ids[0]), wanted[:1])
    for given, place in (([10**6], "input"), ([[1], [-1]], "input[1]"), ([[5], []], "input[1]"), ([[1.5]], "input[0]")):
        error = server.embed(given).json()["error"]
        assert error["type"] == "invalid_request_error"
        assert error["param"].startswith(place)


def test_pictures_fused_and_alone(server: Running, picture: Picture) -> None:
    first, second = encoded(picture(1)), encoded(picture(2), "JPEG", quality=95)
    wanted = expected(
        server,
        [load_image(first), {"image": load_image(second), "text": "a photo of"}, "only a text", load_image(second)],
    )
    items = [
        {"image": data_uri(first)},
        {"image": data_uri(second, "image/jpeg"), "text": "a photo of"},
        "only a text",
        {"image": base64.b64encode(second).decode()},
    ]
    close(server.vectors(items), wanted)
    parts: list[dict[str, Any]] = [
        {"content": [{"type": "image_url", "image_url": {"url": data_uri(first)}}]},
        {
            "content": [
                {"type": "text", "text": "a photo of"},
                {"type": "image_base64", "image_base64": items[3]["image"]},
            ]
        },
        {"content": "only a text"},
    ]
    close(server.vectors(parts), wanted[:3])
    close(server.vectors([data_uri(first), items[3]["image"]], modality="image"), wanted[[0, 3]])


def test_base64_as_tools_write_it(server: Running) -> None:
    wanted = server.vectors([{"image": FORMS["plain"]}])
    close(server.vectors([{"image": form} for form in FORMS.values()]), np.repeat(wanted, len(FORMS), axis=0))
    part = {"type": "image_base64", "image_base64": FORMS["lines"]}
    close(server.vectors([{"content": [part]}]), wanted)


def test_a_video(server: Running, tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", frames(12))
    pictures = stack_frames(load_video(film, num_frames=8))
    wanted = expected(server, [{"video": pictures, "text": "a film"}, {"video": pictures}])
    address = data_uri(film.read_bytes(), "video/mp4")
    close(server.vectors([{"video": address, "text": "a film"}, {"video": address}]), wanted)
    part = {"type": "video_url", "video_url": {"url": address}}
    close(server.vectors({"content": [part, {"type": "text", "text": "a film"}]}), wanted[:1])


def test_messages_are_one_vector(server: Running, picture: Picture) -> None:
    image = encoded(picture(3))
    content = [{"type": "image_url", "image_url": {"url": data_uri(image)}}, {"type": "text", "text": "is it red?"}]
    messages = [{"role": "system", "content": "Answer the question:"}, {"role": "user", "content": content}]
    response = server.client.post("/v1/embeddings", json={"messages": messages})
    wanted = expected(server, [{"image": load_image(image), "text": "is it red?"}], prompt="Answer the question: ")
    close([entry["embedding"] for entry in response.json()["data"]], wanted)


def test_an_upload_needs_no_base64(server: Running, picture: Picture) -> None:
    image = encoded(picture(4))
    response = server.client.post(
        "/v1/embeddings", data={"text": "a drawing", "dimensions": "64"}, files={"image": ("a.png", image, "image/png")}
    )
    assert response.status_code == 200, response.text
    wanted = expected(server, [{"image": load_image(image), "text": "a drawing"}])[:, :64]
    close(response.json()["data"][0]["embedding"], wanted[0] / np.linalg.norm(wanted[0]))
    for fields, files, param in (
        ({"input": "x"}, {"image": ("a.png", image)}, "input"),
        ({}, {"picture": ("a.png", image)}, "picture"),
        ({"dimensions": "7"}, {"image": ("a.png", image)}, "dimensions"),
        ({}, {"image": ("a.png", b"not a picture")}, "image"),
    ):
        found = server.client.post("/v1/embeddings", data=fields, files=files)
        assert (found.status_code, found.json()["error"]["param"]) == (400, param)


def test_null_is_a_fields_default(server: Running, picture: Picture) -> None:
    """Clients and gateways write null for what they leave open, at any depth."""
    fields = set(EmbeddingRequest.model_fields) - {"input"}
    assert server.vectors("rain", **dict.fromkeys(fields)) == server.vectors("rain")
    address = data_uri(encoded(picture(1)))
    part = {"type": "image_url", "image_url": {"url": address, "detail": None}}
    given = [{"text": None, "image": address, "video": None}, {"content": [part]}]
    close(server.vectors(given), np.repeat(server.vectors([{"image": address}]), 2, axis=0))
    messages = [{"role": "user", "content": "rain"}]
    response = server.client.post("/v1/embeddings", json={"messages": messages, "input": None})
    close([response.json()["data"][0]["embedding"]], server.vectors("rain"))


def test_prompts_and_instructions(server: Running) -> None:
    wanted = expected(server, ["find: rain", "about: rain", "What is it? rain"])
    found = [
        server.vectors("rain", input_type="query")[0],
        server.vectors("rain", input_type="document")[0],
        server.vectors("rain", instruction="What is it?", input_type="query")[0],
    ]
    close(found, wanted)


def test_dimensions(server: Running) -> None:
    whole = np.array(server.vectors("rain")[0])
    short = np.array(server.vectors("rain", dimensions=64)[0])
    close(short, whole[:64] / np.linalg.norm(whole[:64]))
    close(server.vectors("rain", dimensions=64, normalize=False)[0], whole[:64])
    close(server.vectors("rain", dimensions=384)[0], whole)
    error = server.embed("rain", dimensions=65).json()["error"]
    assert error["param"] == "dimensions"
    assert "64, 128, 384" in error["message"]


def test_usage_and_truncation(server: Running) -> None:
    usage = server.embed(["a red umbrella", "rain"]).json()["usage"]
    assert usage == {"prompt_tokens": 4, "total_tokens": 4}
    long = "umbrella " * 400
    assert server.embed(long).json()["usage"]["prompt_tokens"] == 254
    close(server.vectors(long), expected(server, [long]))
    refused = server.embed(["x", long], truncate=False)
    assert refused.status_code == 400
    assert refused.json()["error"] | {"message": ""} == {
        "message": "",
        "type": "invalid_request_error",
        "param": "input[1]",
        "code": "context_length_exceeded",
    }


def test_names(server: Running) -> None:
    assert server.embed("x", model="nano").status_code == 200
    assert server.embed("x", model="also/nano").json()["model"] == "nano"
    error = server.embed("x", model="gpt-7")
    assert (error.status_code, error.json()["error"]["code"]) == (404, "model_not_found")
    card = server.client.get("/v1/models").json()["data"][0]
    assert card["id"] == "nano"
    assert (card["dimension"], card["dimensions"]) == (384, [64, 128, 384])
    assert {"text", "image", "video"} <= set(card["modalities"])


def test_one_bad_item_is_named_and_harms_no_neighbour(server: Running, picture: Picture) -> None:
    good = encoded(picture(5))
    wanted = expected(server, [load_image(good), "beside"])
    bad = [{"image": data_uri(good)}, "beside", {"text": "x"}, {"image": data_uri(good[:200])}]

    def ask(number: int) -> Any:
        if number % 2:
            return server.embed(bad)
        return server.vectors([{"image": data_uri(good)}, "beside"])

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(16)))
    for number, found in enumerate(answers):
        if number % 2:
            assert (found.status_code, found.json()["error"]["param"]) == (400, "input[3]")
        else:
            close(found, wanted)


def test_many_at_once_are_each_as_alone(server: Running, picture: Picture) -> None:
    texts = [f"{'word ' * (number % 13)}number {number}" for number in range(60)]
    images = [encoded(picture(number)) for number in range(6)]
    wanted = expected(server, [*texts, *map(load_image, images)])
    items = [*texts, *({"image": data_uri(image)} for image in images)]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda item: server.vectors([item])[0], items))
    close(found, wanted)


def test_the_openai_client(server: Running) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    wanted = expected(server, ["rain", "snow"])
    found = client.embeddings.create(model="nano", input=["rain", "snow"])
    close([entry.embedding for entry in found.data], wanted)
    assert found.usage.prompt_tokens == 2
    close(client.embeddings.create(model="nano", input="rain", encoding_format="float").data[0].embedding, wanted[0])
    mixed: Any = [{"text": "rain"}, "snow"]
    close([entry.embedding for entry in client.embeddings.create(model="nano", input=mixed).data], wanted)
    assert [model.id for model in client.models.list()] == ["nano"]
    assert client.models.retrieve("nano").id == "nano"
    with pytest.raises(openai.NotFoundError, match="not here, only 'nano'"):
        client.embeddings.create(model="other", input="x")
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        client.embeddings.create(model="nano", input="x", dimensions=3)


def test_langchain(server: Running) -> None:
    client = OpenAIEmbeddings(
        model="nano",
        base_url=f"{server.url}/v1",
        api_key="none",
        check_embedding_ctx_length=False,  # type: ignore[arg-type]
    )
    wanted = expected(server, ["rain", "snow"])
    close(client.embed_documents(["rain", "snow"]), wanted)
    close(client.embed_query("snow"), wanted[1])


def test_curl(server: Running, tmp_path: Path, picture: Picture) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(encoded(picture(6)))
    commands = [
        ["-H", "content-type: application/json", "-d", '{"input": "rain"}'],
        ["-F", f"image=@{image}", "-F", "text=a drawing"],
    ]
    found = []
    for command in commands:
        shown = subprocess.run(
            ["curl", "-sS", "--noproxy", "*", f"{server.url}/v1/embeddings", *command], capture_output=True, check=True
        )
        found.append(json.loads(shown.stdout)["data"][0]["embedding"])
    close(found, expected(server, ["rain", {"image": load_image(image), "text": "a drawing"}]))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, None),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", "  "]}, "input[1]"),
        ({"input": ["a", 3]}, "input[1]"),
        ({"input": ["a", None]}, "input[1]"),
        ({"input": ["a", {"text": "b", "picture": "c"}]}, "input[1].picture"),
        ({"input": [{"text": 3}]}, "input[0].text"),
        ({"input": [{}]}, "input[0]"),
        ({"input": [{"content": [{"type": "sound"}]}]}, "input[0].content[0]"),
        ({"input": [{"content": [{"type": "image_url", "image_url": {}}]}]}, "input[0].content[0].image_url.url"),
        ({"input": "a", "messages": []}, "messages"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimension": 64}, "dimension"),
        ({"input": "a", "modality": "smell"}, "modality"),
        ({"input": "a", "modality": "audio"}, "input"),
        ({"input": ["a"] * 65}, "input"),
        ({"input": "a" * 200_001}, "input"),
        ({"input": [{"image": "aGk=", "video": "aGk="}]}, "input[0]"),
    ],
)
def test_what_is_wrong_is_named(server: Running, body: dict[str, Any], param: str | None) -> None:
    response = server.client.post("/v1/embeddings", json=body)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, param)
    assert set(error) == {"message", "type", "param", "code"}
