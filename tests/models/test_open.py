"""Opening a model: pooled as its family was made for, by directory and hub id alike, and never by code of its own."""

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from llave import load_model
from llave.errors import UserError
from llave.models.model import EmbeddingModel
from tests.models.tiny_backbones import build
from tests.models.tiny_encoders import bert, clip

BY_HUB_ID = """
import sys
import numpy as np
from llave import load_model
from llave.models.loaded.compare import compare, folder_of
models = [load_model(name, device="cpu") for name in sys.argv[1:]]
assert folder_of(models[1]).name == "0" * 40 and compare(models[1]) == []
vectors = [model.encode(["a crab on the beach"])[0] for model in models]
assert np.allclose(vectors[0], vectors[1], atol=1e-5), vectors[0] @ vectors[1]
"""


def test_a_hub_id_is_its_directory(tmp_path: Path) -> None:
    place = build("qwen3_vl", tmp_path / "parts")
    repository = tmp_path / "home" / "hub" / "models--Org--tiny"  # what `hf download Org/tiny` leaves
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(place, repository / "snapshots" / ("0" * 40))
    environment = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", BY_HUB_ID, str(place), "Org/tiny"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_text_encoder_is_pooled_as_elsewhere(tmp_path: Path) -> None:
    place = str(bert(tmp_path))
    texts = ["a crab", "the cat"]
    theirs = SentenceTransformer(place, device="cpu").encode(texts, normalize_embeddings=True)
    assert np.allclose(load_model(place, device="cpu").encode(texts), theirs, atol=1e-6)


def test_two_towers_in_one_space(tmp_path: Path) -> None:
    model = load_model(clip(tmp_path), device="cpu")
    text, image = model.encode("a crab"), model.encode(Image.new("RGBA", (40, 40)))
    assert text.shape == image.shape == (24,)
    assert np.linalg.norm(text) == pytest.approx(1, abs=1e-5)


def test_an_unknown_family_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = build("qwen2_vl", tmp_path)
    monkeypatch.setattr("llave.models.pooled.family_of_type", lambda model_type: None)
    with pytest.raises(UserError, match="how models of the type qwen2_vl are pooled is not known"):
        load_model(place, device="cpu")


def own_code(place: Path, ran: Path) -> None:
    (place / "own.py").write_text(f"open({str(ran)!r}, 'w')\n")


def test_code_of_a_model_is_not_run(tmp_path: Path) -> None:
    own_code(tmp_path, tmp_path / "RAN")
    config = {"model_type": "own", "architectures": ["M"], "auto_map": {"AutoConfig": "own.C", "AutoModel": "own.M"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"of its own, which llave does not run \(config.json: auto_map own.C, own.M\)"):
        load_model(tmp_path)
    modules = [{"idx": 0, "name": "0", "path": "", "type": "own.Module"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match=r"of its own, which llave does not run \(modules.json: type own.Module\)"):
        load_model(tmp_path)
    assert not (tmp_path / "RAN").exists()


CLASSES = {
    "config.json": {"AutoConfig": "own.C", "AutoModel": "own.M"},
    "tokenizer_config.json": {"AutoTokenizer": ["own.T", "own.T"]},
    "preprocessor_config.json": {"AutoImageProcessor": "own.I", "AutoProcessor": "own.P"},
    "processor_config.json": {"AutoProcessor": "own.P"},
    "video_preprocessor_config.json": {"AutoVideoProcessor": "own.V"},
}


@pytest.mark.parametrize("file", CLASSES)
@pytest.mark.parametrize("known", [True, False])
def test_no_file_of_a_model_names_code_that_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, known: bool
) -> None:
    """A class of transformers' own is taken in its place, or the model is refused; nobody is asked."""
    place = build("qwen2_vl", tmp_path / "model")
    own_code(place, tmp_path / "RAN")
    config = json.loads((place / file).read_text()) if (place / file).is_file() else {}
    for key in () if known else ("model_type", "tokenizer_class", "processor_class", "image_processor_type"):
        config.pop(key, None)
    (place / file).write_text(json.dumps({**config, "auto_map": CLASSES[file]}))
    monkeypatch.setattr("builtins.input", lambda text="": pytest.fail(text))
    with contextlib.suppress(UserError):
        load_model(place, device="cpu")
    assert not (tmp_path / "RAN").exists()


def test_a_model_does_not_unpickle_what_its_settings_allow(tmp_path: Path) -> None:
    place = bert(tmp_path)
    weights = load_file(place / "model.safetensors")
    (place / "model.safetensors").unlink()
    torch.save({**weights, "own": Pickled(tmp_path / "RAN")}, place / "pytorch_model.bin")
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "dtype": None}))  # so that it is looked up in the weights
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    (place / "modules.json").write_text(json.dumps(modules))
    settings = {"model_kwargs": {"weights_only": False, "dtype": "auto", "allow_all_kernels": True}}
    (place / "sentence_bert_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="cannot be opened as a model"):
        load_model(place, device="cpu")
    assert not (tmp_path / "RAN").exists()


class Pickled:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


def test_what_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="cannot be opened as a model") as error:
        load_model(tmp_path)
    assert "\n" not in str(error.value)


def test_a_saved_model_is_a_plain_directory(any_model: EmbeddingModel, tmp_path: Path) -> None:
    any_model.save(str(tmp_path / "model"))
    settings = json.loads((tmp_path / "model" / "config_sentence_transformers.json").read_text())
    assert settings["model_type"] == "SentenceTransformer"
    modules = json.loads((tmp_path / "model" / "modules.json").read_text())
    assert all(module["type"].startswith("sentence_transformers.") for module in modules)
    inputs = ["a text", Image.new("RGB", (40, 30), "red"), {"image": Image.new("RGB", (40, 30), "red"), "text": "red"}]
    expected = any_model.encode(inputs)
    assert np.allclose(load_model(tmp_path / "model", device="cpu").encode(inputs), expected, atol=1e-6)
    if any_model.family.bare:  # PaliGemma's processor takes pairs alone
        inputs, expected = inputs[2:], expected[2:]
    assert np.allclose(SentenceTransformer(str(tmp_path / "model"), device="cpu").encode(inputs), expected, atol=1e-6)


BROKEN = {
    "weights cut short": ("model.safetensors", lambda data: data[:1000]),
    "weights of zeros": ("model.safetensors", lambda data: bytes(len(data))),
    "no weights": ("model.safetensors", None),
    "an empty config": ("config.json", lambda data: b""),
    "a config that is a list": ("config.json", lambda data: b"[1]"),
    "a config that is a number": ("config.json", lambda data: b"5"),
    "an unknown model type": ("config.json", lambda data: data.replace(b'"qwen2_vl"', b'"never_seen"')),
    "an empty tokenizer": ("tokenizer.json", lambda data: b"{}"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_directory_is_refused_in_a_line(tmp_path: Path, kind: str) -> None:
    place = Path(build("qwen2_vl", tmp_path))
    name, change = BROKEN[kind]
    assert (place / name).is_file()
    if change is None:
        (place / name).unlink()
    else:
        (place / name).write_bytes(change((place / name).read_bytes()))
    with pytest.raises(UserError, match=r"cannot be opened as a model|not known") as refused:
        load_model(place, device="cpu")
    assert str(place) in str(refused.value)
    assert "\n" not in str(refused.value)
