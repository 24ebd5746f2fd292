"""What was loaded beside the checkpoint's files: drift by hand is named, and a sound model has none."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Regex, normalizers, pre_tokenizers, processors

from llave import load_model
from llave.errors import DataError
from llave.models.convert import convert
from llave.models.loaded.compare import compare, folder_of, warn_of_differences
from llave.models.loaded.difference import Difference
from llave.models.loaded.tokenizer_file import TokenizerFile
from llave.models.loaded.weights import weight_differences
from llave.models.model import EmbeddingModel
from llave.models.open import save_model
from tests.models.conftest import FAMILIES
from tests.models.tiny_encoders import clip
from tests.models.tiny_llave import random_state, write_checkpoint

Opened = Callable[[str], EmbeddingModel]
Copied = Callable[..., tuple[EmbeddingModel, Path]]
WEMM = {"type": "Replace", "pattern": {"Regex": "\n$"}, "content": ""}


@pytest.fixture
def copied(opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copied:
    """A model of the session, that believes to come from a copy of its files."""

    def copy(name: str = "qwen2_vl", *, saved: bool = False) -> tuple[EmbeddingModel, Path]:
        model, place = opened(name), tmp_path / "copy"
        if saved:
            save_model(model, place)
        else:
            shutil.copytree(model.source, place)
        monkeypatch.setattr(model, "source", str(place))
        return model, place

    return copy


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Change a JSON file in place."""
    said = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(change(said) or said), "utf-8")


def names(found: list[Difference]) -> list[tuple[str, str]]:
    return [(one.part, one.effect) for one in found]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Our own lines."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("llave")]


@pytest.mark.parametrize("name", [*FAMILIES, "bert"])
def test_a_model_as_its_files_say(opened: Opened, name: str) -> None:
    model = opened(name)
    assert compare(model, thorough=True) == []
    assert (folder_of(model) is None) == (name == "nano")


def test_a_saved_model_is_as_its_files_say(
    any_model: EmbeddingModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_model(any_model, tmp_path / "model")
    again = load_model(tmp_path / "model", device="cpu")
    assert compare(again, thorough=True) == []
    assert said(caplog) == []


def test_two_towers_and_a_converted_llave(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "original", random_state())
    for place in (clip(tmp_path), convert(tmp_path / "original", tmp_path / "converted")):
        assert compare(load_model(place, device="cpu"), thorough=True) == []


def test_a_rule_that_the_class_drops(copied: Copied, caplog: pytest.LogCaptureFixture) -> None:
    """transformers' Qwen2Tokenizer builds its normalizer anew, whatever the file says: the drift of WeMM."""
    _, place = copied()
    both = {"type": "Sequence", "normalizers": [{"type": "NFC"}, WEMM]}
    edit(place / "tokenizer.json", lambda said: {**said, "normalizer": both})
    with caplog.at_level(logging.WARNING, "llave"):
        found = compare(load_model(place, device="cpu"))
    assert names(found) == [("tokenizer", "vectors")]
    assert found[0].file == r'Replace("\n$" → "")'
    assert found[0].loaded == "nothing"
    [line] = said(caplog)
    assert r'normalizer (shows in "a crab on the beach\n"): tokenizer.json says Replace("\n$" → "")' in line
    assert "\n" not in line
    caplog.clear()
    edit(place / "tokenizer_config.json", lambda said: {**said, "tokenizer_class": "TokenizersBackend"})
    model = load_model(place, device="cpu")  # the remedy that is named
    assert compare(model, thorough=True) == []
    assert said(caplog) == []
    assert model.tokenizer("crab\n")["input_ids"] == model.tokenizer("crab")["input_ids"]


NFC = normalizers.NFC()
RARE = normalizers.Sequence([NFC, normalizers.Replace(Regex("qq+z"), "q")])
AROUND = processors.TemplateProcessing(single="$A <x>", special_tokens=[("<x>", 3)])
STEPS: dict[str, tuple[str, Any, str, str]] = {
    "a rule more": ("normalizer", normalizers.Sequence([NFC, normalizers.Lowercase()]), "vectors", "Lower"),
    "no rule": ("normalizer", None, "vectors", "nothing"),
    "a rule that no text shows": ("normalizer", RARE, "perhaps", "qq+z"),
    "another split": ("pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=True), "vectors", "space=true"),
    "a token around": ("post_processor", AROUND, "vectors", "[3]"),
}


@pytest.mark.parametrize("kind", STEPS)
def test_a_changed_step_of_the_tokenizer(opened: Opened, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    model, (step, value, effect, words) = opened("qwen2_vl"), STEPS[kind]
    monkeypatch.setattr(model.tokenizer.backend_tokenizer, step, value)
    [found] = compare(model)
    assert found.name.startswith(step)
    assert (found.part, found.effect) == ("tokenizer", effect)
    assert words in found.loaded
    monkeypatch.undo()
    assert compare(model) == []


def test_the_same_in_other_words(copied: Copied) -> None:
    """Fields that move no token, and the places of keys, are no difference; nor is a "vocab" among the added tokens."""
    model, place = copied()

    def other_words(said: dict[str, Any]) -> dict[str, Any]:
        for rule in said["pre_tokenizer"]["pretokenizers"]:
            if "trim_offsets" in rule:
                rule["trim_offsets"] = not rule["trim_offsets"]
        return {"model": said.pop("model"), **said}

    edit(place / "tokenizer.json", other_words)
    assert compare(model, thorough=True) == []
    edit(place / "tokenizer.json", lambda said: {**said, "model": said.pop("model")})
    whole = json.loads((place / "tokenizer.json").read_text())
    whole["added_tokens"].append({**whole["added_tokens"][0], "content": '"vocab"', "id": 900})
    (place / "tokenizer.json").write_text(json.dumps(whole))
    file = TokenizerFile(place / "tokenizer.json")
    assert [token["content"] for token in file.added][-1] == '"vocab"'
    assert file.model["type"] == "BPE"
    assert "vocab" not in file.model


def changed(file: str, *keys: str | int) -> Callable[[Path, Any], None]:
    """Puts a value under keys of a JSON file."""

    def put(place: Path, value: Any) -> None:
        def change(said: Any) -> None:
            inner = said
            for key in keys[:-1]:
                inner = inner[key]
            inner[keys[-1]] = value

        edit(place / file, change)

    return put


IMAGE = ("processor_config.json", "image_processor")
DRIFT: dict[str, tuple[Callable[[Path, Any], None], Any, str, str, str]] = {
    "eos": (changed("tokenizer_config.json", "eos_token"), "<|im_start|>", "tokenizer", "eos_token", "perhaps"),
    "pad": (changed("tokenizer_config.json", "pad_token"), "<video>", "tokenizer", "pad_token", "none"),
    "side": (changed("tokenizer_config.json", "padding_side"), "left", "tokenizer", "padding side", "none"),
    "length": (changed("tokenizer_config.json", "model_max_length"), 77, "tokenizer", "tokens read", "perhaps"),
    "id": (changed("tokenizer.json", "added_tokens", 1, "id"), 999, "tokenizer", "added token", "vectors"),
    "token": (changed("tokenizer.json", "added_tokens", 1, "content"), "<|new|>", "tokenizer", "<|new|>", "vectors"),
    "strip": (changed("tokenizer.json", "added_tokens", 1, "lstrip"), True, "tokenizer", "added token", "perhaps"),
    "merges": (changed("tokenizer.json", "model", "ignore_merges"), True, "tokenizer", "ignore_merges", "perhaps"),
    "size": (changed(*IMAGE, "size"), {"shortest_edge": 784, "longest_edge": 50176}, "processor", "size", "vectors"),
    "min": (changed(*IMAGE, "min_pixels"), 3136, "processor", "min_pixels", "vectors"),
    "mean": (changed(*IMAGE, "image_mean"), [0.5, 0.5, 0.5], "processor", "image_mean", "vectors"),
    "resample": (changed(*IMAGE, "resample"), 2, "processor", "resample", "vectors"),
    "class": (changed(*IMAGE, "image_processor_type"), "SiglipImageProcessor", "processor", "class", "vectors"),
    "pil": (changed(*IMAGE, "image_processor_type"), "Qwen2VLImageProcessorPil", "processor", "class", "perhaps"),
    "frames": (changed("processor_config.json", "video_processor", "patch_size"), 16, "processor", "patch", "vectors"),
    "dtype": (changed("config.json", "dtype"), "float16", "dtype", "dtype", "none"),
}


@pytest.mark.parametrize("kind", DRIFT)
def test_drift_is_named(copied: Copied, kind: str) -> None:
    model, place = copied()
    put, value, part, name, effect = DRIFT[kind]
    put(place, value)
    [found] = compare(model)
    assert (found.part, found.effect) == (part, effect)
    assert name in found.name
    assert found.file != found.loaded


def test_other_merges_show_in_ids(copied: Copied) -> None:
    """Only the thorough look reads the vocabulary."""
    model, place = copied()

    def merged(said: dict[str, Any]) -> None:
        vocabulary = said["model"]["vocab"]
        vocabulary["ra"], said["model"]["merges"] = vocabulary.pop("ÿ"), [["r", "a"]]

    edit(place / "tokenizer.json", merged)
    assert compare(model) == []
    [found] = compare(model, thorough=True)
    assert found.name.startswith("ids of ")
    assert found.effect == "vectors"


def test_an_older_picture_processor_was_pils(copied: Copied) -> None:
    """transformers 4 wrote a file of its own, and its class of this name resized with PIL; a size was one number."""
    model, place = copied("llava_onevision")
    said = json.loads((place / "processor_config.json").read_text())
    older = {**said.pop("image_processor"), "size": 56}
    (place / "processor_config.json").write_text(json.dumps(said))
    (place / "preprocessor_config.json").write_text(json.dumps(older))
    assert compare(model) == []
    edit(place / "config.json", lambda config: {**config, "transformers_version": "4.57.0"})
    [found] = compare(model)
    assert found.file == "LlavaOnevisionImageProcessor (PIL)"
    assert found.effect == "perhaps"


def test_the_template(copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    model, place = copied()
    template = (place / "chat_template.jinja").read_text()
    (place / "chat_template.jinja").write_text(template.replace("im_end", "end"))
    [found] = compare(model)
    assert (found.part, found.effect) == ("template", "vectors")
    (place / "chat_template.jinja").unlink()  # older checkpoints have it elsewhere
    edit(
        place / "tokenizer_config.json",
        lambda said: {**said, "chat_template": [{"name": "default", "template": template}]},
    )
    assert compare(model) == []
    monkeypatch.setattr(model[0].config, "image_token_id", 5)
    [found] = compare(model)
    assert (found.name, found.file, found.effect) == ("id of <|image_pad|>", "5", "vectors")


def test_what_the_checkpoint_opens_it_with_has_the_last_word(copied: Copied) -> None:
    """sentence_bert_config.json may name other sizes, a side, a length, and small letters before all."""
    _, place = copied(saved=True)
    more = {
        "processor_kwargs": {"max_pixels": 50176, "padding_side": "left"},
        "max_seq_length": 99,
        "do_lower_case": True,
    }
    edit(place / "sentence_bert_config.json", lambda said: {**said, **more})
    model = load_model(place, device="cpu")
    assert model[0].processor.image_processor.size["longest_edge"] == 50176
    assert (model.max_seq_length, model.tokenizer.padding_side) == (99, "left")
    assert model.tokenizer("A")["input_ids"] == model.tokenizer("a")["input_ids"]
    assert compare(model, thorough=True) == []
    edit(place / "sentence_bert_config.json", lambda said: {**said, "processor_kwargs": {}})
    assert next(one.name for one in compare(model)).startswith("size of the image_processor")


def test_pooling(copied: Copied) -> None:
    model, place = copied(saved=True)
    pooling = place / "1_Pooling" / "config.json"
    older = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True}
    pooling.write_text(json.dumps(older))
    assert compare(model) == []
    edit(pooling, lambda said: {**said, "pooling_mode_mean_tokens": True, "pooling_mode_lasttoken": False})
    [found] = compare(model)
    assert (found.part, found.file, found.loaded, found.effect) == ("pooling", "mean", "lasttoken", "vectors")
    edit(place / "modules.json", lambda said: said[:2])
    [found] = compare(model)
    assert (found.file, found.loaded) == ("Transformer → Pooling", "Transformer → Pooling → Normalize")


def weights(place: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    state = load_file(place / "model.safetensors")
    change(state)
    save_file(state, place / "model.safetensors", metadata={"format": "pt"})


def test_a_missing_weight_is_random(copied: Copied, caplog: pytest.LogCaptureFixture) -> None:
    """The file's name is an older one: transformers renames it, and the gone tensor is named as the network has it."""
    _, place = copied()
    weights(
        place, lambda state: [state.pop(name) for name in list(state) if name.endswith("layers.1.mlp.up_proj.weight")]
    )
    with caplog.at_level(logging.WARNING, "llave"):
        [found] = compare(load_model(place, device="cpu"))
    assert (found.part, found.effect) == ("weights", "vectors")
    assert found.loaded == "random numbers for language_model.layers.1.mlp.up_proj.weight"
    assert "1 missing tensors" in caplog.text


def legacy(name: str) -> str:
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


def before_4_52(name: str) -> str:
    for new, old in (("model.language_model.", "language_model.model."), ("lm_head.", "language_model.lm_head.")):
        name = old + name.removeprefix(new) if name.startswith(new) else name
    return name.removeprefix("model.")


SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 99}
NAMED: dict[str, tuple[Callable[[], Any], Callable[[str], str]]] = {
    "BERT's first names, its head": (lambda: transformers.BertForMaskedLM(transformers.BertConfig(**SIZES)), legacy),
    "experts, each by itself": (
        lambda: transformers.Qwen3MoeForCausalLM(
            transformers.Qwen3MoeConfig(
                **SIZES,
                num_key_value_heads=2,
                head_dim=8,
                num_experts=4,
                num_experts_per_tok=2,
                moe_intermediate_size=16,
            )
        ),
        str,
    ),
    "tied": (
        lambda: transformers.Qwen2ForCausalLM(
            transformers.Qwen2Config(**SIZES, num_key_value_heads=2, tie_word_embeddings=True)
        ),
        str,
    ),
}


@pytest.mark.parametrize("kind", NAMED)
def test_names_that_transformers_changes(tmp_path: Path, kind: str) -> None:
    make, rename = NAMED[kind]
    make().save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    save_file({rename(name): value for name, value in state.items()}, tmp_path / "model.safetensors", {"format": "pt"})
    network = transformers.AutoModel.from_pretrained(tmp_path)
    assert set(load_file(tmp_path / "model.safetensors")) != set(network.state_dict())
    transformer = SimpleNamespace(model=network, module_output_name="token_embeddings")
    assert list(weight_differences(transformer, tmp_path)) == []


def test_a_llava_of_older_names(copied: Copied) -> None:
    model, place = copied("llava_onevision")
    state = load_file(place / "model.safetensors")
    names = {name: before_4_52(name) for name in state}
    assert "language_model.model.norm.weight" in names.values()
    save_file({names[name]: value for name, value in state.items()}, place / "model.safetensors", {"format": "pt"})
    assert compare(model) == []


def test_weights_without_a_place(copied: Copied) -> None:
    """Another shape, and a head that is not one for tokens; lm_head is left out on purpose."""
    model, place = copied()

    def change(state: dict[str, torch.Tensor]) -> None:
        assert "lm_head.weight" in state
        state["embedding_head.weight"] = torch.zeros(2, 2)
        name = next(name for name in state if name.endswith("norm.weight") and "layers" not in name)
        state[name] = torch.zeros(7)

    weights(place, change)
    shape, unexpected = compare(model)
    assert (shape.name, shape.effect) == ("1 tensors of another shape", "vectors")
    assert "(7,) for (32,)" in shape.file
    assert (unexpected.file, unexpected.effect) == ("embedding_head.weight", "perhaps")


def test_less_precise_than_the_files(opened: Opened) -> None:
    model = load_model(opened("bert").source, device="cpu", dtype="bfloat16")
    [found] = compare(model)
    assert (found.part, found.file, found.loaded, found.effect) == ("dtype", "float32", "bfloat16", "perhaps")


def test_a_file_that_cannot_be_read(copied: Copied, caplog: pytest.LogCaptureFixture) -> None:
    model, place = copied("bert")
    (place / "tokenizer_config.json").write_text("{")
    with pytest.raises(DataError, match=r"tokenizer_config\.json: cannot be read as JSON"):
        compare(model)
    (place / "tokenizer_config.json").write_text('["not", "settings"]')
    with pytest.raises(DataError, match="cannot be compared with the open model"):
        compare(model)
    warn_of_differences(model)  # an open model stays open
    assert "not compared with its checkpoint" in caplog.text
