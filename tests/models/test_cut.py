"""A text longer than the model reads is cut in itself: the template's end and all media stay."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer

from llave.errors import DataError
from llave.models.cut import common_end, cut_rows, shortened
from llave.models.model import Cuts, EmbeddingModel

GENERATOR = np.random.default_rng(0)
IMAGE = Image.fromarray(GENERATOR.integers(0, 255, (50, 60, 3), dtype=np.uint8))
FRAMES = GENERATOR.integers(0, 255, (4, 60, 60, 3), dtype=np.uint8)
WORDS = "one two three four five six seven " * 6


def with_limit(model: EmbeddingModel, limit: int, run: Callable[[], Any]) -> Any:
    before = model.max_seq_length
    model.max_seq_length = limit
    try:
        return run()
    finally:
        model.max_seq_length = before


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("media", [{}, {"image": IMAGE}, {"video": FRAMES}], ids=["text", "picture", "video"])
@pytest.mark.parametrize("prompt", [None, "a prompt: "], ids=["", "prompt"])
def test_words_go_and_the_rest_stays(
    any_model: EmbeddingModel, side: str, media: dict[str, Any], prompt: str | None
) -> None:
    model = any_model

    def ids(text: str) -> list[int]:
        features = model.preprocess([{**media, "text": text}, "x"], prompt=prompt)
        return features["input_ids"][0, features["attention_mask"][0].bool()].tolist()  # type: ignore[no-any-return]

    padding, model.tokenizer.padding_side = model.tokenizer.padding_side, side
    try:
        whole, short = ids(WORDS), ids("one two")
        limit = len(whole) - 20
        cut = with_limit(model, limit, lambda: ids(WORDS))
    finally:
        model.tokenizer.padding_side = padding
    assert len(cut) == limit
    end = common_end(torch.tensor(whole), torch.tensor(short))
    assert end > 0
    assert cut == whole[: limit - end] + whole[len(whole) - end :]


def test_one_token_less_does_not_turn_the_vector(any_model: EmbeddingModel) -> None:
    entry = {"image": IMAGE, "text": WORDS}
    whole = any_model.encode([entry])[0]
    length = any_model.preprocess([entry])["input_ids"].shape[1]
    before = any_model.cuts.texts
    cut = with_limit(any_model, length - 1, lambda: any_model.encode([entry, "short"], batch_size=2)[0])
    if any_model[0].model.config.model_type != "qwen3_5":  # recurrent layers of random weights turn with every letter
        assert whole @ cut > 0.9
    assert any_model.cuts.texts == before + 1


def test_a_batch_with_a_long_text_is_each_alone(any_model: EmbeddingModel) -> None:
    """And a book is shortened before it is put among captions, to the same tokens."""
    entries = [{"image": IMAGE, "text": WORDS}, "short", WORDS * 30, {"text": "of a picture", "image": IMAGE}]

    def run() -> tuple[Any, Any]:
        together = any_model.encode(entries, batch_size=4)
        return together, np.concatenate([any_model.encode([entry]) for entry in entries])

    together, alone = with_limit(any_model, 150, run)
    assert np.allclose(together, alone, atol=1e-5)
    whole = any_model.preprocess([WORDS * 30])["input_ids"][0]
    cut = with_limit(any_model, 150, lambda: any_model.preprocess([WORDS * 30])["input_ids"][0])
    assert torch.equal(cut[:100], whole[:100])


def test_no_room_at_all_is_an_error_of_the_item(any_model: EmbeddingModel) -> None:
    length = any_model.preprocess([IMAGE])["input_ids"].shape[1]
    with pytest.raises(DataError, match=r"tokens of pictures, frames and prompt, and the model reads \d+: no room"):
        with_limit(any_model, length - 2, lambda: any_model.preprocess([{"image": IMAGE, "text": "abc"}]))


def test_how_much_is_not_read(opened: Callable[[str], EmbeddingModel]) -> None:
    model = opened("nano")
    before = Cuts(model.cuts.texts, model.cuts.tokens)
    long = "word " * 1000
    assert model.cut_tokens(["short", long, {"image": IMAGE, "text": long}]) == [0, 1000 - 254, 1000 - 250]
    assert model.cuts == before
    model.preprocess([long])
    assert (model.cuts.texts, model.cuts.tokens) == (before.texts + 1, before.tokens + 746)
    encoder = opened("bert")
    assert with_limit(encoder, 50, lambda: encoder.cut_tokens(["the " * 48, "the " * 60, "a"], prompt="the ")) == [
        1,
        13,
        0,
    ]


@pytest.mark.parametrize("name", ["nano", "bert", "qwen3_vl"])
def test_texts_alone_are_cut_as_by_sentence_transformers(opened: Callable[[str], EmbeddingModel], name: str) -> None:
    model = opened(name)

    def run() -> tuple[Any, Any]:
        texts = ["short", WORDS, "the " * 300]
        return model.preprocess(texts), SentenceTransformer.preprocess(model, texts)

    ours, theirs = with_limit(model, 40, run)
    assert torch.equal(ours["input_ids"], theirs["input_ids"])
    assert torch.equal(ours["attention_mask"], theirs["attention_mask"])


def test_rows_are_cut_and_padded_anew() -> None:
    ids = torch.tensor([[0, 0, 1, 2, 3, 9], [1, 4, 5, 6, 7, 9]])
    for side, expected in (("left", [[1, 2, 3, 9], [1, 4, 5, 9]]), ("right", [[1, 2, 3, 9], [1, 4, 5, 9]])):
        features: dict[str, Any] = {
            "input_ids": ids.clone(),
            "attention_mask": (ids > 0).long(),
            "pixel_values": ids[:1],
        }
        cut_rows(features, {1: (2, 1)}, {"input_ids": 8}, side)
        assert features["input_ids"].tolist() == expected
        assert features["attention_mask"].all()
        assert features["pixel_values"].shape == (1, 6)
    features = {"input_ids": ids.clone(), "attention_mask": (ids > 0).long()}
    cut_rows(features, {0: (1, 1)}, {"input_ids": 8}, "left")
    assert features["input_ids"].tolist() == [[8, 8, 8, 1, 2, 9], [1, 4, 5, 6, 7, 9]]
    assert features["attention_mask"].tolist() == [[0, 0, 0, 1, 1, 1], [1] * 6]


def test_only_very_long_texts_are_shortened(opened: Callable[[str], EmbeddingModel]) -> None:
    tokenizer = opened("nano").tokenizer
    assert shortened("word " * 100, tokenizer, 256) == ("word " * 100, 0)
    text, number = shortened("word " * 1000, tokenizer, 256)
    assert number == 1000 - 272
    assert text == ("word " * 272).strip()
