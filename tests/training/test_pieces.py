"""Batches that are prepared mini-batch by mini-batch: the numbers of those prepared at once, whatever is in them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from llave import HardnessWeightedLoss, load_model
from llave.data.corpus import Corpus
from llave.data.sources import find_source
from llave.data.train_table import open_table
from llave.errors import DataError
from llave.losses.reward import EMAReward
from llave.models.model import EmbeddingModel
from llave.models.tower_reuse import vision_tower
from llave.training.pieces import PieceLoader
from llave.training.row_errors import RowErrors, read_row_errors
from llave.training.rows import LAZY_ROWS, ROWS, Collator, Use
from tests.models.tiny_backbones import BACKBONES, build
from tests.shapes import make_folder

PICKED = [{"row": row} for row in (16, 3, 20, 31, 8, 0, 25, 17, 12, 29)]
"""Of both data sets, texts and pictures; row 0 is broken."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_folder(tmp_path_factory.mktemp("data"))
    picture = root / "images" / "red_circle.png"
    picture.write_bytes(picture.read_bytes()[:70])
    return root


@pytest.fixture(scope="module", params=sorted(BACKBONES))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> EmbeddingModel:
    return load_model(build(request.param, tmp_path_factory.mktemp(request.param)), device="cpu").eval()


def collator(model: EmbeddingModel, data: Path, errors: Path, *, lazy: bool) -> Collator:
    corpus = Corpus({name: open_table(find_source(data, name)) for name in ("naming", "t2i")})
    return Collator(
        model.preprocess, corpus, uses={"t2i": Use("Find: ", hard_negatives=True)}, mixed=True, lazy=lazy,
        errors=RowErrors(errors), seed=3,
    )  # fmt: skip


def eager_columns(batch: dict[str, Any]) -> list[dict[str, Any]]:
    names = ("query", "positive", "negative")
    return [
        {key.removeprefix(f"{name}_"): value for key, value in batch.items() if key.startswith(f"{name}_")}
        for name in names
    ]


def gradients(loss: HardnessWeightedLoss, columns: list[dict[str, Any]], ids: Tensor) -> tuple[float, list[Tensor]]:
    loss.model.zero_grad()
    value = loss(columns, ids)
    value.backward()
    return value.item(), [p.grad.clone() for p in loss.model.parameters() if p.grad is not None]


def test_equals_the_batch_prepared_at_once(model: EmbeddingModel, data: Path, tmp_path: Path) -> None:
    eager = collator(model, data, tmp_path / "eager.jsonl", lazy=False)(PICKED)
    lazily = collator(model, data, tmp_path / "lazy.jsonl", lazy=True)
    plan = lazily(PICKED)
    loader = PieceLoader(lazily, workers=0, pin_memory=False)
    assert torch.equal(plan["label"], eager["label"])
    assert plan[ROWS] != [feature["row"] for feature in PICKED]  # another row stands in for the broken one
    assert read_row_errors(tmp_path / "lazy.jsonl") == read_row_errors(tmp_path / "eager.jsonl") != {}
    tower = vision_tower(model[0].model)
    assert tower is not None
    ways: list[tuple[bool, dict[str, Any]]] = [
        (True, {"mini_batch_num_tokens": 150, "keep_graphs": 3}),
        (True, {"mini_batch_size": 3, "keep_graphs": 0, "vision_reuse_gib": 1e-5}),  # of the first mini-batches alone
        (False, {"mini_batch_size": 4, "sort_by_length": False}),
        (True, {"mini_batch_size": 4, "reward": "ema", "vision_cache_gib": 0.01}),
    ]
    for frozen, options in ways if model[0].model.config.model_type == "llava_onevision" else ways[:1]:
        tower.requires_grad_(not frozen)
        made: dict[str, Any] = {**options, "reward": EMAReward(model) if "reward" in options else "self"}
        losses = [HardnessWeightedLoss(model, temperature=0.1, shared_ids=True, **made) for _ in range(2)]
        whole, expected = gradients(losses[0], eager_columns(eager), eager["label"])
        value, found = gradients(losses[1], loader.columns(plan, dict), plan["label"])
        assert value == pytest.approx(whole, rel=1e-5), options
        scale = max(float(gradient.abs().max()) for gradient in expected)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert torch.allclose(one, other, atol=2e-5 * scale, rtol=1e-3), options


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingModel:
    made = load_model(build("llava_onevision", tmp_path_factory.mktemp("llava")), device="cpu").eval()
    vision_tower(made[0].model).requires_grad_(False)  # type: ignore[union-attr]
    return made


@pytest.mark.parametrize(("gib", "passes"), [(1.0, 1), (0.0, 2)])
def test_what_is_in_memory_at_a_time(
    llava: EmbeddingModel, data: Path, tmp_path: Path, gib: float, passes: int
) -> None:
    """No call has more rows than a mini-batch, and a frozen tower's pictures are prepared once."""
    calls: list[int] = []
    lazily = collator(llava, data, tmp_path / "errors.jsonl", lazy=True)

    def counted(inputs: list[Any], prompt: Any) -> dict[str, Any]:
        calls.append(sum(not isinstance(entry, str) for entry in inputs))
        assert len(inputs) <= max(LAZY_ROWS, 4)
        return llava.preprocess(inputs, prompt=prompt)

    lazily.preprocess = counted
    plan = lazily(PICKED)
    assert not any(key.endswith("pixel_values") for key in plan)
    calls.clear()
    loss = HardnessWeightedLoss(llava, mini_batch_size=4, keep_graphs=0, vision_reuse_gib=gib)
    columns = PieceLoader(lazily, workers=0, pin_memory=False).columns(plan, dict)
    loss(columns, plan["label"]).backward()
    pictures = sum(bool(row.image) for number in plan[ROWS] for row in _items(lazily, number))
    assert sum(calls) == passes * pictures > 0


def _items(lazily: Collator, number: int) -> list[Any]:
    name, index = lazily.corpus.locate(number)
    return [item for _, item, _ in lazily._sides(name, index, True)]


def test_workers_give_pieces_in_order_and_say_what_is_gone(data: Path, llava: EmbeddingModel, tmp_path: Path) -> None:
    lazily = collator(llava, data, tmp_path / "errors.jsonl", lazy=True)
    plan = lazily(PICKED)
    alone, beside = (PieceLoader(lazily, workers=workers, pin_memory=False) for workers in (0, 1))
    beside.start()
    for _ in range(2):  # the second pass begins before the first is at its end
        feeds = [loader.columns(plan, dict)[0] for loader in (alone, beside)]
        pieces = [feeds[0].piece(begin, begin + 2) for begin in range(0, 10, 2)]
        for feed in feeds:
            feed.feed.expect(pieces)
        for piece in (*pieces[:3], *pieces[1:4]):
            one, other = (feed.feed.take(piece) for feed in feeds)
            assert one.keys() == other.keys()
            assert all(torch.equal(one[key], other[key]) for key in one if isinstance(one[key], Tensor))
    gone = {**plan, ROWS: [0] * len(PICKED)}  # the broken row, as if it had been whole when the batch was made
    column = alone.columns(gone, dict)[0]
    column.feed.expect([column.piece(0, 2)])
    with pytest.raises(DataError, match=r"^the data has changed while it is trained on: .*red_circle"):
        column.feed.take(column.piece(0, 2))
