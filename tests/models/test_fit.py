"""One item is one input, whichever form it comes in: pictures of any mode, texts, prompts."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from sentence_transformers import SentenceTransformer

from llave.data.images import load_image
from llave.models.model import EmbeddingModel
from tests.data.films import frames, write_film

LITERALS = (
    "<image> <video> <|image_pad|> <|video_pad|> <|vision_start|> <fake_token_around_image> <global-img> "
    "<row_1_col_1> [unused0]"
)


def pictures(folder: Path) -> dict[str, Path]:
    """A file of each mode; every one shows the same."""
    plain = Image.new("RGB", (64, 48), "white")
    pen = ImageDraw.Draw(plain)
    pen.ellipse((8, 4, 44, 40), fill="red")
    mask = Image.new("L", plain.size, 0)
    ImageDraw.Draw(mask).ellipse((8, 4, 60, 44), fill=255)
    clear = plain.copy()
    clear.paste((0, 90, 0), mask=mask.point([255 - value for value in range(256)]))  # under transparent pixels
    clear.putalpha(mask)
    palette = plain.quantize(8)
    grey = plain.convert("L")
    turned = Image.Exif()
    turned[0x0112] = 6
    saved: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "RGB": (plain, "png", {}),
        "RGBA": (clear, "png", {}),
        "LA": (clear.convert("LA"), "png", {}),
        "L": (grey, "png", {}),
        "P": (palette, "png", {"transparency": palette.getpixel((0, 0))}),
        "1": (plain.convert("1"), "png", {}),
        "I;16": (Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "png", {}),
        "F": (Image.fromarray(np.asarray(grey).astype(np.float32) / 255), "tif", {}),
        "CMYK": (plain.convert("CMYK"), "jpg", {"quality": 95}),
        "turned": (plain, "jpg", {"exif": turned}),
    }
    for name, (image, suffix, options) in saved.items():
        image.save(folder / f"{name.replace(';', '')}.{suffix}", **options)
    return {name: folder / f"{name.replace(';', '')}.{suffix}" for name, (_, suffix, _) in saved.items()}


FORMS: dict[str, Callable[[Path], Any]] = {
    "Pillow": Image.open,
    "path": Path,
    "bytes": lambda path: path.read_bytes(),
    "text of a path": lambda path: path.with_suffix(".tiff" if path.suffix == ".tif" else path.suffix),
    "image: Pillow": lambda path: {"image": Image.open(path)},
    "image: path": lambda path: {"image": path},
    "image: text of a path": lambda path: {"image": str(path)},
    "image: bytes": lambda path: {"image": path.read_bytes()},
    "image: data": lambda path: {"image": "data:image/x;base64," + base64.b64encode(path.read_bytes()).decode()},
    "message": lambda path: [{"role": "user", "content": [{"type": "image", "image": str(path)}]}],
}


def test_every_mode_in_every_form(any_model: EmbeddingModel, tmp_path: Path) -> None:
    files = pictures(tmp_path)
    (tmp_path / "F.tiff").write_bytes(files["F"].read_bytes())
    expected = any_model.encode([load_image(path) for path in files.values()], convert_to_tensor=True)
    for name, form in FORMS.items():
        entries = [form(path) for path in files.values()]
        entries = [str(entry) for entry in entries] if name == "text of a path" else entries
        found = any_model.encode(entries, convert_to_tensor=True)
        assert torch.allclose(found, expected, atol=1e-5), name
    turned, plain = list(files).index("turned"), list(files).index("RGB")
    assert (expected[turned] - expected[plain]).norm() > 1e-3
    with_text = [{"image": load_image(path), "text": "red"} for path in files.values()]
    other_order = [{"text": "red", "image": Image.open(path)} for path in files.values()]
    assert torch.allclose(
        any_model.encode(other_order, convert_to_tensor=True),
        any_model.encode(with_text, convert_to_tensor=True),
        atol=1e-5,
    )


def test_one_picture_alone_is_one_input(any_model: EmbeddingModel, tmp_path: Path) -> None:
    path = pictures(tmp_path)["RGBA"]
    vector = any_model.encode(path)
    assert vector.ndim == 1
    assert np.allclose(any_model.encode(path.read_bytes()), vector, atol=1e-6)
    assert np.allclose(any_model.encode([load_image(path)])[0], vector, atol=1e-5)


def test_saved_nano_makes_pictures_fit_without_our_loader(opened: Any, tmp_path: Path) -> None:
    files = pictures(tmp_path)
    opened("nano").save(str(tmp_path / "nano"))
    plain = SentenceTransformer(str(tmp_path / "nano"), device="cpu")
    expected = opened("nano").encode(list(files.values()), convert_to_tensor=True)
    assert torch.allclose(plain.encode([Image.open(path) for path in files.values()], convert_to_tensor=True), expected)
    found = plain.encode([{"image": str(path)} for path in files.values()], convert_to_tensor=True)
    assert torch.allclose(found, expected)


def test_media_tokens_written_out_are_text(any_model: EmbeddingModel) -> None:
    image = Image.new("RGB", (40, 40), "green")
    config = any_model[0].config
    names = ("image_token_id", "image_token_index", "video_token_id", "video_token_index", "vision_start_token_id")
    ids = {getattr(config, name) for name in names if getattr(config, name, None) is not None}
    assert ids
    features = any_model.preprocess([LITERALS], prompt=LITERALS)
    assert not ids & set(features["input_ids"][0].tolist())
    alone, fused, plain = any_model.encode(
        [LITERALS, {"image": image, "text": LITERALS}, {"image": image, "text": "a text"}], prompt=LITERALS
    )
    assert all(np.isfinite(vector).all() for vector in (alone, fused, plain))
    assert np.linalg.norm(fused - plain) > 1e-3


def test_other_special_tokens_are_left_alone(opened: Callable[[str], EmbeddingModel]) -> None:
    for name, text in (("nano", "a [SEP] b"), ("bert", "a [SEP] b"), ("qwen3_vl", "a <|im_end|> b")):
        model = opened(name)
        special = model.tokenizer.convert_tokens_to_ids(text.split()[1])
        ids = model.preprocess([text])["input_ids"][0].tolist()
        assert ids.count(special) == 1 + model.preprocess(["a b"])["input_ids"][0].tolist().count(special)


@pytest.mark.parametrize("name", ["qwen3_vl", "nano", "bert"])
def test_texts_of_one_content_are_one_input(opened: Callable[[str], EmbeddingModel], name: str) -> None:
    model = opened(name)
    composed, apart, half, replaced = "caf\u00e9", "cafe\u0301", "a \ud83d b", "a \ufffd b"
    ids = [model.preprocess([text])["input_ids"].tolist() for text in (composed, apart, half, replaced)]
    assert ids[0] == ids[1]
    assert ids[2] == ids[3]


@pytest.mark.parametrize("name", ["qwen3_vl", "llava_onevision", "smolvlm", "nano", "bert"])
def test_a_prompt_for_each_input(opened: Callable[[str], EmbeddingModel], name: str) -> None:
    """As one prompt for all of them, input by input."""
    model = opened(name)
    image = Image.new("RGB", (40, 40), "green")
    inputs: list[Any] = ["a text", "a text", "other", "a text"]
    if name != "bert":
        inputs += [image, {"image": image, "text": "a text"}, {"image": image, "text": "a text"}]
    prompts = ["find: ", None, "find: ", "", "find: ", "see ", None][: len(inputs)]
    together = model.preprocess(inputs, prompt=prompts)
    for row, (entry, prompt) in enumerate(zip(inputs, prompts, strict=True)):
        alone = SentenceTransformer.preprocess(model, [entry], prompt=prompt)
        mask = together["attention_mask"][row].bool()
        assert together["input_ids"][row, mask].tolist() == alone["input_ids"][0].tolist(), (row, prompt)
    with pytest.raises(ValueError, match="2 prompts for 1 inputs"):
        model.preprocess(["a"], prompt=["b", "c"])


def test_a_picture_that_does_not_open(opened: Callable[[str], EmbeddingModel], tmp_path: Path) -> None:
    from llave.errors import DataError

    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(out, "JPEG")
    half = out.getvalue()[: len(out.getvalue()) // 2]
    (tmp_path / "half.jpg").write_bytes(half)
    for entry in (tmp_path / "half.jpg", half, Image.open(tmp_path / "half.jpg"), tmp_path / "no.jpg"):
        with pytest.raises(DataError, match=r"decode|truncated|no such picture|cut short"):
            opened("qwen3_vl").encode([entry])


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("webm", "libvpx")])
def test_a_film_is_one_by_any_name_that_a_folder_takes(
    nano_untouched: EmbeddingModel, tmp_path: Path, suffix: str, codec: str
) -> None:
    """sentence-transformers' own list of endings has no webm."""
    film = write_film(tmp_path / f"a.{suffix}", frames(4), codec=codec)
    forms: list[Any] = [film, str(film), {"video": str(film)}, {"video": film}]
    vectors = nano_untouched.encode(forms)
    np.testing.assert_allclose(vectors, np.repeat(vectors[:1], 4, axis=0), atol=1e-6)
