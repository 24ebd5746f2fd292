"""Sounds over HTTP: every form of a request, search by a sound, the file of a hit; what is refused."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llave.models.model import EmbeddingModel
from llave.search.build import build_index
from llave.search.options import BuildOptions
from llave.serving.app import AppOptions
from llave.serving.engine import Engine
from llave.serving.limits import Limits
from tests.serving.running import Running, running
from tests.sounds import samples_of, speech, tone, write_sound

QUIET = BuildOptions(progress=False, make_map=False)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for words in ("a red umbrella", "seven green frogs"):
        write_sound(folder / f"{words}.wav", samples_of(speech(words)))
    return folder


@pytest.fixture(scope="module")
def hearing(hearing_model: EmbeddingModel, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    index, _ = build_index(tmp_path_factory.mktemp("index") / "x", hearing_model, clips, options=QUIET)
    with running(Engine(hearing_model, name="hearing"), AppOptions(index=index, limits=Limits(items=8))) as found:
        yield found


def data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def vectors(response: Any) -> np.ndarray:
    assert response.status_code == 200, response.text
    return np.array([row["embedding"] for row in response.json()["data"]])


def test_every_form_is_the_same_vector(hearing: Running, hearing_model: EmbeddingModel, clips: Path) -> None:
    file = clips / "a red umbrella.wav"
    expected = hearing_model.encode([{"audio": file, "text": "said"}])[0]
    text, uri = {"type": "text", "text": "said"}, f"data:audio/wav;base64,{data(file)}"
    spoken = {"type": "input_audio", "input_audio": {"data": data(file), "format": "wav"}}
    forms: list[Any] = [
        {"text": "said", "audio": uri},
        {"content": [text, spoken]},
        {"content": [text, {"type": "audio_url", "audio_url": {"url": uri}}]},
    ]
    found = vectors(hearing.embed([*forms, "said"]))
    assert np.allclose(found[:3], expected, atol=1e-5)
    assert found[3] @ expected < 0.99
    chat = {"messages": [{"role": "user", "content": [text, spoken]}]}
    assert np.allclose(vectors(hearing.client.post("/v1/embeddings", json=chat)), expected, atol=1e-5)
    upload = hearing.client.post("/v1/embeddings", data={"text": "said"}, files={"audio": file.read_bytes()})
    assert np.allclose(vectors(upload), expected, atol=1e-5)
    alone = hearing.client.post("/v1/embeddings", json={"input": data(file), "modality": "audio"})
    assert np.allclose(vectors(alone), hearing_model.encode([file]), atol=1e-5)
    assert hearing.client.get("/v1/models").json()["data"][0]["modalities"] == ["audio", "image", "text", "video"]


def test_search_and_the_file_of_a_hit(hearing: Running, clips: Path, tmp_path: Path) -> None:
    query = write_sound(tmp_path / "q.mp3", samples_of(speech("seven green frogs")))
    found = hearing.client.post("/v1/search", json={"audio": data(query), "filter": "kind = audio"}).json()
    first = found["results"][0]
    assert (first["path"], first["kind"], first["thumbnail"]) == ("seven green frogs.wav", "audio", None)
    whole = (clips / first["path"]).read_bytes()
    answer = hearing.client.get(first["content"])
    assert (answer.content, answer.headers["content-type"]) == (whole, "audio/wav")
    part = hearing.client.get(first["content"], headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole[100:200])
    both = hearing.client.post("/v1/search", json={"audio": data(query), "image": data(query)})
    assert (both.status_code, "either an image or an audio" in both.text) == (400, True)
    weighted = {"audio": data(query), "text": "frogs", "weight": 1.0, "filter": "kind = audio"}
    assert hearing.client.post("/v1/search", json=weighted).json()["results"][0]["path"] == first["path"]


def refused(server: Running, item: Any, **more: Any) -> str:
    response = server.client.post("/v1/embeddings", json={"input": [item], **more})
    assert response.status_code == 400, response.text
    message: str = response.json()["error"]["message"]
    return message


def test_what_is_refused(hearing: Running, server: Running, clips: Path, tmp_path: Path) -> None:
    good = write_sound(tmp_path / "a.flac", tone(0.3))
    assert refused(server, {"audio": data(good)}) == "this model takes image, text, video, no audio"
    assert refused(hearing, {"audio": base64.b64encode(b"no sound").decode()}) == (
        "audio: not a whole sound that FFmpeg can read; replace the file"
    )
    cut = base64.b64encode((clips / "a red umbrella.wav").read_bytes()[:9000]).decode()
    assert refused(hearing, {"audio": cut}).endswith("download it again")
    assert refused(hearing, {"audio": data(good), "image": data(good)}).startswith("an item has more than one of")
    two = {"content": [{"type": "input_audio", "input_audio": {"data": data(good)}}] * 2}
    assert refused(hearing, two) == "an item takes one picture, one video or one sound; send more items"
    assert "input_audio" in refused(hearing, {"content": [{"type": "noise"}]})
    long = write_sound(tmp_path / "long.flac", tone(31.0))
    said = refused(hearing, {"audio": data(long)}, truncate=False)
    assert said == "a sound of 31.0 s, and the model hears 30 s; shorten it or leave it to `truncate`"
