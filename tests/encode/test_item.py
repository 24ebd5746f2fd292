"""An item: its content is its identity, and what it is made of does not matter."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.encode.encoder import Encoder
from llave.encode.item import Item, Reading
from llave.encode.tokens import Tokens
from llave.errors import DataError

READING = Reading()


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


@pytest.fixture
def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8))


def test_equal_content_is_equal(tmp_path: Path, noise: Image.Image) -> None:
    (tmp_path / "a.png").write_bytes(encoded(noise))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "copy.png").write_bytes(encoded(noise))
    forms = [
        Item("x", tmp_path / "a.png"),
        Item(" x\n", tmp_path / "sub" / ".." / "a.png"),
        Item("<|image_1|>\nx", tmp_path / "sub" / "copy.png"),
        Item("x", encoded(noise)),
        Item("x", str(tmp_path / "a.png")),  # type: ignore[arg-type]
    ]
    assert len({item.measure(READING).key for item in forms}) == 1
    others = [Item("y", encoded(noise)), Item("", encoded(noise)), Item("x"), Item("x ", encoded(noise), verbatim=True)]
    keys = {item.measure(READING).key for item in [*forms, *others]}
    assert len(keys) == 5
    assert {item.measure(READING).media for item in forms} == {others[0].measure(READING).media}


def test_an_open_picture_is_what_it_shows(noise: Image.Image) -> None:
    red, blue = Image.new("P", (40, 40)), Image.new("P", (40, 40))
    red.putpalette([255, 0, 0])
    blue.putpalette([0, 0, 255])
    clear = red.copy()
    clear.info["transparency"] = 0
    turned = noise.copy()
    turned.getexif()[0x0112] = 6
    different = [red, blue, clear, noise, turned, noise.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    keys = [Item(image=picture).measure(Reading()).key for picture in different]
    assert len(set(keys)) == len(different)
    assert keys[0] == Item(image=red.convert("RGB")).measure(Reading()).key
    assert Item(image=turned).measure(Reading()).size == (noise.width, noise.height)


def test_a_letter_is_one_however_it_is_composed() -> None:
    assert Item("caf\u00e9").measure(READING).key == Item("cafe\u0301").measure(READING).key
    assert Item("cafe\u0301").load(READING) == "caf\u00e9"
    assert Item("half \ud83d").load(READING) == "half \ufffd"


def test_a_page_of_a_document_is_no_other_page(tmp_path: Path) -> None:
    (tmp_path / "d.pdf").write_bytes(b"%PDF")
    first, second = (Item(image=tmp_path / f"d.pdf#page={page}") for page in (1, 2))
    assert (first.kind, first.modality) == ("page", "image")
    assert first.measure(READING).key != second.measure(READING).key


def test_what_it_is(tmp_path: Path, noise: Image.Image) -> None:
    assert Item("a").kind == Item("a").modality == "text"
    picture = Item("a", noise)
    assert (picture.kind, picture.file, picture.num_bytes) == ("image", None, 0)
    assert Item(image=b"123").num_bytes == 3
    assert Item(image=tmp_path / "a.png").file == tmp_path / "a.png"
    assert picture.measure(READING).size == (20, 30)
    loaded = picture.load(READING)
    assert isinstance(loaded, dict)
    assert (loaded["text"], loaded["image"].size) == ("a", (30, 20))


@pytest.mark.parametrize(
    "item", [Item(), Item(" \n"), Item(image=b""), Item(image=b"no picture"), Item("a", Path("/no"))]
)
def test_what_cannot_be_loaded_says_so(item: Item) -> None:
    with pytest.raises(DataError, match=r"neither a text nor a picture|picture|cannot|no such"):
        item.load(READING)


def test_a_picture_is_a_path_bytes_or_open() -> None:
    with pytest.raises(DataError, match="image: a path, bytes or an open picture, not int"):
        Item(image=3)  # type: ignore[arg-type]


def test_a_file_that_is_refused_is_named_though_another_has_its_content(
    tmp_path: Path, nano_untouched: SentenceTransformer
) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        path.write_bytes(b"no picture")
    outcomes = Encoder(nano_untouched)([Item(image=path) for path in paths])
    assert [str(outcome) for outcome in outcomes] == [f"{path}: not a picture that can be read" for path in paths]


def test_queries_share_one_copy_of_the_tokenizer(nano_untouched: SentenceTransformer) -> None:
    """The copy takes as long as ten queries; the model's own is changed by every call that pads."""
    first, second = (Tokens(nano_untouched, frames) for frames in (1, 2))
    assert first._tokenizer is second._tokenizer
    assert first._tokenizer is not nano_untouched.tokenizer
    assert first._backend.padding is None
