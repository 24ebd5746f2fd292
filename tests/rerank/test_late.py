"""Late interaction as a second stage."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from llave import Item, Refused
from llave.encode.late import LateEncoder
from llave.models.late import LateModel, late_from
from llave.models.model import EmbeddingModel
from llave.rerank.late import LateStage


@pytest.fixture(scope="module")
def model(nano_untouched: EmbeddingModel) -> LateModel:
    torch.manual_seed(0)
    return late_from(nano_untouched, 16)


def test_scores_as_the_model_has_them(model: LateModel, picture: Callable[[int], Image.Image], tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    documents = [Item("a crab"), Item(image=picture(1)), Item(image=tmp_path / "broken.png"), Item("the moon")]
    scores = LateStage(model)(Item("a red crab"), documents)
    assert isinstance(scores[2], Refused)
    expected = model.similarity(
        model.encode_query(["a red crab"], show_progress_bar=False),
        model.encode_document(["a crab", picture(1), "the moon"], show_progress_bar=False),
    )[0]
    assert [scores[0], scores[1], scores[3]] == pytest.approx(expected.tolist(), abs=1e-5)


def test_stored_tokens_and_a_query_that_cannot_be_read(model: LateModel, tmp_path: Path) -> None:
    stage, documents = LateStage(model, factor=2), [Item("a crab on a beach"), Item("the moon")]
    fresh = stage(Item("crab"), documents)
    tokens = LateEncoder(model, "document", factor=2)(documents)
    stored = stage.of_stored(Item("crab"), [tokens[0], None, tokens[1]])  # type: ignore[list-item]
    assert [stored[0], stored[2]] == fresh
    assert isinstance(stored[1], Refused)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert all(isinstance(score, Refused) for score in stage(Item(image=tmp_path / "broken.png"), documents))
    assert stage(Item("crab"), []) == []
