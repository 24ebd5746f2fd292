"""A converted checkpoint gives the original's embeddings in stock sentence-transformers, and says what does not fit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.errors import DataError, UserError
from llave.models.convert import convert
from llave.models.open import save_model
from tests.models.original_llave import embed
from tests.models.tiny_llave import FACTS, random_state, write_checkpoint

PROMPT = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n"
PROMPT += "<|im_start|>assistant\n\n<|im_end|>\n"
SIZES = [(56, 56), (30, 20), (200, 90), (64, 180), (113, 112), (400, 41), (7, 90)]


def picture(width: int, height: int) -> Image.Image:
    generator = torch.Generator().manual_seed(width * 1000 + height)
    coarse = torch.randint(0, 256, (5, 6, 3), generator=generator, dtype=torch.uint8).numpy()
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("convert")
    write_checkpoint(root / "original", random_state())
    return convert(root / "original", root / "model")


@pytest.fixture(scope="module")
def model(converted: Path) -> SentenceTransformer:
    return SentenceTransformer(str(converted), device="cpu")


def original(model: SentenceTransformer, content: str, image: Image.Image | None = None) -> torch.Tensor:
    """By the transcription; ``<image>`` splits the text where the picture goes."""
    pieces = PROMPT.format(content).split("<image>")
    return embed(random_state(), FACTS, [model.tokenizer(piece).input_ids for piece in pieces], image)


def test_texts(model: SentenceTransformer) -> None:
    texts = ["A cat and a dog", "x", "Ein längerer Satz, mit Ümläuten und 漢字.", "two\nlines\n"]
    for text, vector in zip(texts, model.encode(texts, convert_to_tensor=True), strict=True):
        assert torch.allclose(vector, original(model, text), atol=1e-5)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pictures_with_and_without_text(model: SentenceTransformer, size: tuple[int, int]) -> None:
    image = picture(*size)
    fused, alone = model.encode(
        [{"image": image, "text": "Represent the given image."}, image], convert_to_tensor=True, batch_size=1
    )
    assert torch.allclose(fused, original(model, "<image>\nRepresent the given image.", image), atol=1e-5)
    assert torch.allclose(alone, original(model, "<image>\n", image), atol=1e-5)


def test_a_prompt_is_an_instruction_of_the_user(model: SentenceTransformer) -> None:
    image = picture(90, 60)
    (vector,) = model.encode([{"image": image, "text": "a dog?"}], prompt="Question: ", convert_to_tensor=True)
    assert torch.allclose(vector, original(model, "<image>\nQuestion: a dog?", image), atol=1e-5)
    (vector,) = model.encode(["a crab"], prompt_name="text-to-image", convert_to_tensor=True)
    text = "Find me an everyday image that matches the given caption: a crab"
    assert torch.allclose(vector, original(model, text), atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_mixed_batches_equal_single_items(model: SentenceTransformer, side: str) -> None:
    items = ["short", picture(200, 90), {"image": picture(30, 20), "text": "a much longer text " * 5}, "longer " * 9]
    before = model.tokenizer.padding_side
    model.tokenizer.padding_side = side
    try:
        batch = model.encode(items, convert_to_tensor=True, batch_size=4)
        single = model.encode(items, convert_to_tensor=True, batch_size=1)
    finally:
        model.tokenizer.padding_side = before
    assert torch.allclose(batch, single, atol=1e-5)


def test_the_words_and_the_tokens(model: SentenceTransformer) -> None:
    """The template to the letter, and the number of visual tokens of the full-size tower."""
    content = [{"type": "image", "image": picture(60, 60)}, {"type": "text", "text": "Represent the given image."}]
    text = model[0].processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
    assert text == PROMPT.format("<image>\nRepresent the given image.")
    processor = model[0].processor
    processor.num_image_tokens, saved = 729, processor.num_image_tokens
    pinpoints = processor.image_processor.image_grid_pinpoints
    processor.image_processor.image_grid_pinpoints = [[384 * high, 384 * wide] for high in (1, 2) for wide in (1, 2)]
    counts = {(384, 384): 1485, (500, 375): 1728, (640, 480): 2929, (1920, 1080): 2379, (768, 768): 3699}
    for (width, height), count in counts.items():
        assert processor._get_number_of_features(height, width, 384, 384) == count
    processor.num_image_tokens, processor.image_processor.image_grid_pinpoints = saved, pinpoints


def test_what_is_written(converted: Path) -> None:
    config = json.loads((converted / "config.json").read_text())
    assert config["architectures"] == ["LlavaOnevisionForConditionalGeneration"]
    assert config["tie_word_embeddings"] is True
    assert config["image_grid_pinpoints"] == [[56, 56], [56, 112], [112, 56], [112, 112]]
    assert config["text_config"]["vocab_size"] == 320  # 261 tokens, padded from 260 rows to a multiple of 64
    assert json.loads((converted / "1_Pooling/config.json").read_text())["pooling_mode"] == "lasttoken"
    processor = json.loads((converted / "processor_config.json").read_text())["image_processor"]
    assert processor["image_mean"] == [0.5] * 3
    assert not any(path.suffix in {".bin", ".py"} for path in converted.iterdir())


def test_saved_again_it_keeps_its_pixels(model: SentenceTransformer, tmp_path: Path) -> None:
    """As after fine-tuning."""
    save_model(model, tmp_path)
    again = SentenceTransformer(str(tmp_path), device="cpu")
    items = [picture(*size) for size in SIZES]
    expected = model.encode(items, convert_to_tensor=True, batch_size=1)
    assert torch.allclose(again.encode(items, convert_to_tensor=True, batch_size=1), expected, atol=1e-6)


@pytest.mark.parametrize(("form", "tied"), [("safetensors", False), ("bin", True)])
def test_other_layouts(tmp_path: Path, model: SentenceTransformer, form: str, tied: bool) -> None:
    """Untied heads, pickled files: the same embeddings."""
    state = random_state()
    if not tied:
        state["lm_head.weight"] = torch.randn_like(state["model.embed_tokens.weight"])
    state["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)  # a constant, dropped
    write_checkpoint(tmp_path / "original", state, form=form, shards=2)
    other = SentenceTransformer(str(convert(tmp_path / "original", tmp_path / "model")), device="cpu")
    items = ["a text", picture(70, 50)]
    assert torch.equal(other.encode(items, convert_to_tensor=True), model.encode(items, convert_to_tensor=True))


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    state = random_state()
    del state["model.layers.1.mlp.up_proj.weight"]
    state["model.layers.0.mlp.extra.weight"] = torch.zeros(2)
    state["model.mm_projector.2.bias"] = torch.zeros(3)
    write_checkpoint(tmp_path / "original", state)
    with pytest.raises(DataError) as caught:
        convert(tmp_path / "original", tmp_path / "model")
    message = str(caught.value)
    assert "3 tensors do not fit" in message
    assert "missing model.language_model.layers.1.mlp.up_proj.weight" in message
    assert "unexpected model.layers.0.mlp.extra.weight" in message
    assert "model.mm_projector.2.bias is (3,), expected (32,)" in message
    assert not (tmp_path / "model").exists()


def test_bad_sources_are_one_line(tmp_path: Path) -> None:
    source = tmp_path / "original"
    with pytest.raises(DataError, match=r"no config\.json"):
        convert(source, tmp_path / "model")
    write_checkpoint(source, random_state())
    (source / "model-00002-of-00003.safetensors").write_bytes(b"12345678 not weights")
    with pytest.raises(DataError, match="not a whole safetensors file"):
        convert(source, tmp_path / "model")
    (source / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(DataError, match="names files that are not there: model-00002"):
        convert(source, tmp_path / "model")
    write_checkpoint(source, random_state())
    (source / "vision_config.json").unlink()
    with pytest.raises(DataError, match=r"nothing is known of its vision tower 'tiny-siglip'.*--vision-config"):
        convert(source, tmp_path / "model")
    (tmp_path / "vision.json").write_text('{"num_attention_heads": 2, "image_size": 70, "patch_size": 14}')
    with pytest.raises(DataError, match="16 positions; its configuration says"):
        convert(source, tmp_path / "model", vision_config=tmp_path / "vision.json")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(UserError, match="is not empty"):
        convert(source, tmp_path / "full")


def test_a_pickle_with_code_is_refused(tmp_path: Path) -> None:
    import pickle

    source = tmp_path / "original"
    write_checkpoint(source, random_state(), form="bin", shards=1)

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (eval, (f"open({str(tmp_path / 'ran')!r}, 'w').close()",))

    (source / "pytorch_model-00001-of-00001.bin").write_bytes(pickle.dumps({"weight": Evil()}))
    with pytest.raises(DataError, match="cannot be read as tensors alone"):
        convert(source, tmp_path / "model")
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_memory_stays_below_the_largest_shard(tmp_path: Path) -> None:
    """Measured in a process of its own: shards of 300 MB, peak above the imports below 1.3 of one."""
    source = tmp_path / "original"
    state = random_state(rows=300_000)
    inner = 700_000
    for number in range(FACTS["layers"]):
        for name, shape in (("gate_proj", (inner, 32)), ("up_proj", (inner, 32)), ("down_proj", (32, inner))):
            state[f"model.layers.{number}.mlp.{name}.weight"] = torch.zeros(shape)
    write_checkpoint(source, state, shards=2)
    largest = max(path.stat().st_size for path in source.glob("*.safetensors"))
    assert largest > 250 << 20
    script = f"""
import pathlib, resource, threading, torch
from llave.models.convert import convert
from llave.models.open import save_model
def resident(field):
    line = next(l for l in open("/proc/self/status") if l.startswith(field))
    return int(line.split()[1]) * 1024
open("/proc/self/clear_refs", "w").write("5")
before = resident("VmRSS")
convert(pathlib.Path({str(source)!r}), pathlib.Path({str(tmp_path / "model")!r}))
print(resident("VmHWM") - before)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 1.3 * largest


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from llave.cli.main import main

    write_checkpoint(tmp_path / "original", random_state())
    assert main(["convert", str(tmp_path / "original"), str(tmp_path / "model")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "model")
    assert main(["convert", str(tmp_path / "nowhere"), str(tmp_path / "other")]) == 2
    assert "no such directory" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["convert", str(tmp_path / "empty"), str(tmp_path / "other")]) == 2
    assert "no config.json" in capsys.readouterr().err
