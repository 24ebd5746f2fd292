"""The loss over MaxSim: InfoNCE at alpha 0, the pure formula, GradCache, several processes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from llave import load_model
from llave.losses.functional import hardness_weighted_loss, score_loss
from llave.losses.late import LateInteractionLoss
from llave.losses.maxsim import maxsim
from llave.models.late import LateModel, late_from
from tests.gloo import in_processes
from tests.losses.test_hardness import IDS, TEXTS, assert_same_gradients

Columns = list[dict[str, Any]]


@pytest.fixture
def model() -> LateModel:
    """A fresh one without dropout."""
    torch.manual_seed(0)
    return late_from(load_model("nano", device="cpu"), 16).eval()


def columns_of(model: LateModel, picture: Callable[[int], Image.Image]) -> Columns:
    query: list[Any] = [text if i % 2 else {"image": picture(i), "text": text} for i, text in enumerate(TEXTS)]
    positive: list[Any] = [picture(i) if i != 3 else "a piece of toast, nothing else" for i in range(6)]
    negative: list[Any] = [{"image": picture(i + 7), "text": "not this"} if i < 4 else f"other {i}" for i in range(6)]
    return [
        model.preprocess(query, task="query"),
        *(model.preprocess(side, task="document") for side in (positive, negative)),
    ]


def gradients(model: LateModel) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def unit(rows: int, dim: int, seed: int) -> Tensor:
    value = torch.randn(rows, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(value, dim=-1)


def test_one_token_each_is_the_loss_of_vectors() -> None:
    query, target = unit(5, 8, 0), unit(10, 8, 1)
    one = torch.ones(5, 1, dtype=torch.bool), torch.ones(10, 1, dtype=torch.bool)
    options: dict[str, Any] = {
        "alpha": 3.0, "temperature": 0.1, "weighting": "in_batch", "positive_margin": 0.1,
        "query_ids": torch.tensor([1, 2, 3, 4, 1]), "target_ids": torch.arange(10) % 7,
    }  # fmt: skip
    scores = maxsim(query[:, None], one[0], target[:, None], one[1])
    expected = hardness_weighted_loss(query, target, impl="reference", **options)
    assert score_loss(scores, **options).item() == pytest.approx(expected.item(), rel=1e-12)


def test_alpha_zero_is_infonce_in_both_directions() -> None:
    scores = torch.rand(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    label = torch.arange(6)
    both = [torch.nn.functional.cross_entropy(logit / 0.1, label) for logit in (scores, scores.T)]
    assert score_loss(scores, alpha=0.0, temperature=0.1).item() == pytest.approx(sum(both).item() / 2)  # type: ignore[union-attr]


@pytest.mark.parametrize("impl", ["reference", "tiled"])
def test_equals_the_pure_functions(model: LateModel, picture: Callable[[int], Image.Image], impl: Any) -> None:
    columns = columns_of(model, picture)
    loss = LateInteractionLoss(model, temperature=0.1, alpha=5.0, impl=impl)(columns, IDS)
    with torch.no_grad():
        outputs = [model(dict(column)) for column in columns_of(model, picture)]
    sides = [
        [tokens[mask] for tokens, mask in zip(out["token_embeddings"], out["attention_mask"].bool(), strict=True)]
        for out in outputs
    ]
    targets = sides[1] + sides[2]
    scores = torch.tensor(
        [[(q @ d.T).max(1).values.mean().item() for d in targets] for q in sides[0]], dtype=torch.float64
    )
    ids = {"query_ids": IDS[:, 0], "target_ids": torch.cat([IDS[:, 1], IDS[:, 2]])}
    assert loss.item() == pytest.approx(score_loss(scores, temperature=0.1, alpha=5.0, **ids).item(), rel=1e-5)


@pytest.mark.parametrize("options", [{"mini_batch_size": 2}, {"mini_batch_num_tokens": 40}])
def test_gradcache_equals_the_batch_at_once(
    model: LateModel, picture: Callable[[int], Image.Image], options: dict[str, int]
) -> None:
    LateInteractionLoss(model, temperature=0.1, sort_by_length=False)(columns_of(model, picture), IDS).backward()
    whole = gradients(model)
    model.zero_grad()
    loss = LateInteractionLoss(model, temperature=0.1, **options)
    loss(columns_of(model, picture), IDS).backward()
    assert_same_gradients(gradients(model), whole)
    said = loss.last_similarity()
    assert set(said) == {"positive", "hard", "easy", "gap", "batch_accuracy"}
    assert -1 <= said["hard"] <= 1


class Bare(torch.nn.Module):
    """Gives tokens as they are."""

    def __getitem__(self, number: int) -> "Bare":
        return self

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return features


def _sides(rank: int | None) -> list[dict[str, Tensor]]:
    """Three columns of four rows, of which each of two processes has two; they differ in length between processes."""
    sides = []
    for number, lengths in enumerate(((3, 5), (4, 2), (6, 6))):
        generator = torch.Generator().manual_seed(number)
        value = torch.randn(4, 6, 7, generator=generator, dtype=torch.float64)
        length = torch.tensor([lengths[0], 1, lengths[1], 2])
        mask = torch.arange(6)[None] < length[:, None]
        rows = slice(0, 4) if rank is None else slice(2 * rank, 2 * rank + 2)
        longest = int(length[rows].max())
        tokens = value[rows, :longest].clone().requires_grad_()
        sides.append({"token_embeddings": tokens, "attention_mask": mask[rows, :longest]})
    return sides


LABELS = torch.tensor([[1, 5, 6], [2, 7, 8], [1, 9, 10], [4, 7, 11]])


def _rank(rank: int) -> list[Any]:
    columns = _sides(rank)
    loss = LateInteractionLoss(Bare(), temperature=0.1, sort_by_length=False)(columns, LABELS[2 * rank : 2 * rank + 2])  # type: ignore[arg-type]
    (loss / 2).backward()
    return [loss.detach(), *(column["token_embeddings"].grad for column in columns)]


@pytest.mark.slow
def test_two_processes_equal_one() -> None:
    whole = _sides(None)
    loss = LateInteractionLoss(Bare(), temperature=0.1, sort_by_length=False)(whole, LABELS)  # type: ignore[arg-type]
    loss.backward()
    for rank, (value, *grads) in enumerate(in_processes(_rank)):
        assert torch.allclose(value, loss)
        for column, grad in zip(whole, grads, strict=True):
            expected = column["token_embeddings"].grad
            assert expected is not None
            assert torch.allclose(grad, expected[2 * rank : 2 * rank + 2, : grad.shape[1]])


def test_what_it_has_not_is_refused(model: LateModel) -> None:
    with pytest.raises(ValueError, match="no matryoshka_dims"):
        LateInteractionLoss(model, matryoshka_dims=[8])
