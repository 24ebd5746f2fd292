"""The benchmark beside infinity: its model can compare, and its file has nothing of this machine."""

import numpy as np
import pytest
from PIL import Image

from benchmarks.clip_model import LENGTH, write_clip
from benchmarks.serve_infinity import INFINITY, infinity_sheet, without_place
from llave import load_model
from llave.models.model import EmbeddingModel

TINY = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingModel:
    return load_model(write_clip(tmp_path_factory.mktemp("clip"), (TINY, TINY), side=32, patch=8), device="cpu").eval()


def test_what_differs_has_other_vectors(model: EmbeddingModel) -> None:
    draw = np.random.default_rng(0)
    pictures = [Image.fromarray(draw.integers(0, 255, (8, 8, 3), np.uint8)).resize((60, 40)) for _ in range(2)]
    for one, other in (("a red boat", "a red lamp 7"), pictures):
        first_D, again_D, second_D = model.encode([one, one, other], normalize_embeddings=True)
        assert np.allclose(first_D, again_D, atol=1e-6)
        assert np.abs(first_D - second_D).max() > 1e-3


def test_words_are_few_tokens_and_long_texts_are_cut(model: EmbeddingModel) -> None:
    assert model.tokenizer.tokenize("A dog under bridge 12") == [
        "a</w>",
        "dog</w>",
        "under</w>",
        "bridge</w>",
        "1</w>",
        "2</w>",
    ]
    assert len(model.tokenizer("dog " * 100, truncation=True)["input_ids"]) == LENGTH


def test_the_command_is_of_any_machine() -> None:
    python = "/home/me/bin/python3"
    assert without_place(f"it --infinity {python} --rounds 1", python) == "it --infinity DIR/bin/python3 --rounds 1"


def test_the_table_names_what_it_compares_with() -> None:
    numbers = dict.fromkeys(("rate", "slowest", "fastest", "p50_ms", "p95_ms", "ratio", "cpu_ms"), 1.0)
    content = {
        "title": "t", "machine": "m", "commit": "0123456789", "others_cores": 0.1,
        "measurements": [{"variant": INFINITY, "kind": "texts", "clients": 8, **numbers}],
    }  # fmt: skip
    table = infinity_sheet(content).markdown()
    assert "| × infinity |" in table
    assert "other work took 0.1 of the cores · m; commit 0123456" in table
