"""Items to token vectors: as sentence-transformers' own encode, refused one by one, pooled, scored as numpy scores."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from llave import Item, Refused
from llave.encode.late import LateEncoder, maxsim_scores, pool_tokens
from llave.errors import UserError
from llave.losses.maxsim import maxsim
from llave.models.late import LateModel, late_from
from llave.models.model import EmbeddingModel


@pytest.fixture(scope="module")
def model(nano_untouched: EmbeddingModel) -> LateModel:
    torch.manual_seed(0)
    return late_from(nano_untouched, 16)


def unit(rows: int, dim: int, seed: int) -> np.ndarray:  # type: ignore[type-arg]
    value = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    return value / np.linalg.norm(value, axis=1, keepdims=True)


def test_as_sentence_transformers_encodes(
    model: LateModel, picture: Callable[[int], Image.Image], tmp_path: Path
) -> None:
    picture(1).save(tmp_path / "one.png")
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    items = [
        Item("a crab on the beach"),
        Item(image=tmp_path / "one.png"),
        Item(image=tmp_path / "broken.png"),
        Item("what is this?", image=tmp_path / "one.png"),
    ]
    found = LateEncoder(model, "document")(items)
    assert isinstance(found[2], Refused)
    assert found[2].kind == "file"
    shown = Image.open(tmp_path / "one.png").convert("RGB")
    expected = model.encode_document(
        ["a crab on the beach", shown, {"image": shown, "text": "what is this?"}], show_progress_bar=False
    )
    for tokens, theirs in zip([found[0], found[1], found[3]], expected, strict=True):
        assert not isinstance(tokens, Refused)
        np.testing.assert_allclose(tokens, theirs.cpu().numpy(), atol=2e-6)


def test_a_role_has_its_prompt(nano_untouched: EmbeddingModel) -> None:
    torch.manual_seed(0)
    model = late_from(nano_untouched, 8)
    model.prompts["query"] = "find: "
    (query,), (document,) = (LateEncoder(model, role)([Item("a crab")]) for role in ("query", "document"))
    assert not isinstance(query, Refused)
    assert not isinstance(document, Refused)
    assert len(query) == len(document) + 2
    np.testing.assert_allclose(query, model.encode_query(["a crab"], show_progress_bar=False)[0].cpu(), atol=2e-6)


def test_a_document_keeps_one_in_so_many_tokens(model: LateModel) -> None:
    text = Item("one two three four five six")
    (whole,), (halved,), (query,) = (
        LateEncoder(model, "document")([text]),
        LateEncoder(model, "document", factor=2)([text]),
        LateEncoder(model, "query", factor=2)([text]),
    )
    assert not isinstance(whole, Refused)
    assert not isinstance(halved, Refused)
    assert not isinstance(query, Refused)
    assert (len(whole), len(halved), len(query)) == (8, 4, 8)
    with pytest.raises(UserError, match="at least 1"):
        LateEncoder(model, "document", factor=0.5)


@pytest.mark.parametrize("factor", [1, 2, 3, 100])
def test_pooling_is_wards_clusters(factor: int) -> None:
    tokens = unit(11, 5, 0)
    pooled = pool_tokens(tokens, factor)
    assert len(pooled) == max(11 // factor, 1)
    np.testing.assert_allclose(np.linalg.norm(pooled, axis=1), 1, rtol=1e-6)
    if factor == 1:
        assert pooled is tokens
        return
    distance = np.clip(1 - tokens @ tokens.T, 0, 2)
    labels = fcluster(linkage(squareform(distance, checks=False), "ward"), len(pooled), "maxclust")
    means = [tokens[labels == label].mean(axis=0) for label in np.unique(labels)]
    expected = [mean / np.linalg.norm(mean) for mean in means]
    np.testing.assert_allclose(pooled, expected, atol=1e-6)


def test_scores_are_maxsim() -> None:
    query, documents = unit(3, 6, 0), [unit(size, 6, size) for size in (1, 5, 2)]
    scores = maxsim_scores(query, documents)
    by_hand = [np.mean([max(q @ d for d in tokens) for q in query]) for tokens in documents]
    np.testing.assert_allclose(scores, by_hand, rtol=1e-6)
    padded = np.stack([np.pad(tokens, ((0, 5 - len(tokens)), (0, 0))) for tokens in documents])
    mask = np.arange(5) < np.array([[1], [5], [2]])
    of_training = maxsim(
        torch.from_numpy(query)[None], torch.ones(1, 3), torch.from_numpy(padded), torch.from_numpy(mask)
    )
    np.testing.assert_allclose(scores, of_training[0].numpy(), rtol=1e-6)
    half = maxsim_scores(query, [tokens.astype(np.float16) for tokens in documents])
    np.testing.assert_allclose(half, scores, atol=2e-3)
    assert len(maxsim_scores(query, [])) == 0
