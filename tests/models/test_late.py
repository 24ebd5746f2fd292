"""Late interaction: any backbone as a MultiVectorEncoder, saved, opened by sentence-transformers alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from sentence_transformers import MultiVectorEncoder

from llave import load_model
from llave.errors import UserError
from llave.models.late import late_from
from llave.models.model import EmbeddingModel
from llave.models.open import is_late, load_late, save_model
from tests.models.tiny_encoders import DUAL

TEXTS = ["a crab", "the moon over a hill, and nobody there"]


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl", "nano"])
def test_saved_and_opened_by_sentence_transformers(
    name: str, opened: Callable[[str], EmbeddingModel], picture: Callable[[int], Image.Image], tmp_path: Path
) -> None:
    """A tiny ColQwen of either generation, and the nano one."""
    model = late_from(opened(name), 16)
    save_model(model, tmp_path / "late")
    inputs = [*TEXTS, {"image": picture(0), "text": "what is this?"}, picture(3)]
    ours = load_late(tmp_path / "late", device="cpu")
    theirs = MultiVectorEncoder(str(tmp_path / "late"), device="cpu")
    assert ours.similarity_fn_name == theirs.similarity_fn_name == "meanmaxsim"
    for entry in inputs:
        expected = model.encode_document([entry], show_progress_bar=False)[0]
        assert expected.shape[1] == 16
        torch.testing.assert_close(expected.norm(dim=1), torch.ones(len(expected)))
        for other in (ours, theirs):
            torch.testing.assert_close(other.encode_document([entry], show_progress_bar=False)[0], expected)
    together = ours.encode_document(inputs, show_progress_bar=False)
    for entry, tokens in zip(inputs, together, strict=True):
        torch.testing.assert_close(
            tokens, ours.encode_document([entry], show_progress_bar=False)[0], rtol=1e-4, atol=1e-5
        )


def test_a_batch_carries_its_role(nano_untouched: EmbeddingModel) -> None:
    model = late_from(nano_untouched, 8)
    mask = model[2]
    mask.skiplist_words = ["moon"]
    mask.resolve_with_tokenizer(model.tokenizer)
    counts = {}
    for role in ("query", "document"):
        features = model.preprocess(["the moon over a hill"], task=role)  # type: ignore[arg-type]
        counts[role] = int(model(features)["attention_mask"].sum())
    assert counts["document"] == counts["query"] - 1


def test_a_model_of_the_other_kind_is_named(nano_untouched: EmbeddingModel, tmp_path: Path) -> None:
    save_model(nano_untouched, tmp_path / "embed")
    save_model(late_from(nano_untouched, 8), tmp_path / "late")
    assert is_late(str(tmp_path / "late"))
    assert not is_late(str(tmp_path / "embed"))
    assert not is_late("nano")
    with pytest.raises(UserError, match="a late-interaction model"):
        load_model(tmp_path / "late")
    with pytest.raises(UserError, match="--task late makes one"):
        load_late(tmp_path / "embed")


def test_towers_without_tokens_are_refused(tmp_path: Path) -> None:
    clip = load_model(DUAL["clip"](tmp_path), device="cpu")
    with pytest.raises(UserError, match="one vector each"):
        late_from(clip)
