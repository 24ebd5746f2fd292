"""The sentence-transformers form: cached equals plain, many processes equal one, rewards, in the real trainer."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from llave import HardnessWeightedLoss, hardness_weighted_loss, load_model
from llave.losses.focal import FocalInfoNCELoss, focal_infonce_loss
from llave.losses.minibatch import like_lengths
from llave.losses.reward import EMAReward, MaskedReward, NormalizedReward, TextReward
from tests.gloo import in_processes

Columns = list[dict[str, Any]]
TEXTS = ["a crab", "the moon over a hill", "red car", "a slice of bread with butter", "dog", "a small boat"]


@pytest.fixture
def model() -> SentenceTransformer:
    """A fresh nano model."""
    return load_model("nano", device="cpu")


@pytest.fixture
def inputs(picture: Callable[[int], Image.Image]) -> list[list[Any]]:
    """Three columns of six rows that mix text, pictures and both."""
    query = [text if i % 2 else {"text": text, "image": picture(i)} for i, text in enumerate(TEXTS)]
    positive = [picture(i) if i != 3 else "toast" for i in range(6)]
    negative = [{"text": "not this", "image": picture(i + 7)} if i < 4 else f"other {i}" for i in range(6)]
    return [query, positive, negative]


IDS = torch.tensor([[1, 11, 21], [2, 12, 22], [3, 11, 23], [4, 14, 24], [1, 15, 11], [6, 16, 26]])


def preprocess(model: SentenceTransformer, inputs: list[list[Any]], rows: slice = slice(None)) -> Columns:
    return [model.preprocess(column[rows]) for column in inputs]


def gradients(model: SentenceTransformer) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same_gradients(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    assert len(left) > 80
    scale = max(float(value.abs().max()) for value in right.values())
    assert scale > 1e-4
    for name in left:
        assert torch.allclose(left[name], right[name], atol=2e-5 * scale, rtol=1e-3), name


@pytest.mark.parametrize("shared", [False, True])
def test_equals_the_pure_function(model: SentenceTransformer, inputs: list[list[Any]], shared: bool) -> None:
    model.eval()
    ids = IDS if not shared else torch.where(IDS == 1, 12, IDS)  # two queries are another row's positive
    loss = HardnessWeightedLoss(model, temperature=0.1, alpha=5.0, shared_ids=shared)(preprocess(model, inputs), ids)
    query, positive, negative = [
        model.encode(column, convert_to_tensor=True, normalize_embeddings=True) for column in inputs
    ]
    pure = hardness_weighted_loss(
        query,
        torch.cat([positive, negative]),
        temperature=0.1,
        alpha=5.0,
        query_ids=ids[:, 0],
        target_ids=torch.cat([ids[:, 1], ids[:, 2]]),
        shared_ids=shared,
    )
    assert loss.item() == pytest.approx(pure.item(), rel=1e-5)


@pytest.mark.parametrize("mini_batch_size", [1, 4])
def test_cached_gradients_equal_plain_ones_with_dropout(
    model: SentenceTransformer, inputs: list[list[Any]], mini_batch_size: int
) -> None:
    """The plain form embeds the same chunks in the same order, so that dropout draws the same masks."""
    from sentence_transformers.base.losses.gradcache import _create_minibatch

    model.train()
    cached = HardnessWeightedLoss(model, temperature=0.1, mini_batch_size=mini_batch_size, sort_by_length=False)
    torch.manual_seed(3)
    loss = cached(preprocess(model, inputs), IDS)
    loss.backward()
    cached_gradients = gradients(model)

    model.zero_grad()
    torch.manual_seed(3)
    chunks = [
        [
            model(_create_minibatch(column, start, start + mini_batch_size))["sentence_embedding"]
            for start in range(0, 6, mini_batch_size)
        ]
        for column in preprocess(model, inputs)
    ]
    plain_loss = HardnessWeightedLoss(model, temperature=0.1).calculate_loss(chunks, IDS)
    plain_loss.backward()
    assert loss.item() == pytest.approx(plain_loss.item(), rel=1e-6)
    assert_same_gradients(cached_gradients, gradients(model))
    # Without dropout the chunks do not matter: the same as one forward of the whole batch.
    model.eval()
    model.zero_grad()
    HardnessWeightedLoss(model, temperature=0.1)(preprocess(model, inputs), IDS).backward()
    whole = gradients(model)
    model.zero_grad()
    cached(preprocess(model, inputs), IDS).backward()
    assert_same_gradients(gradients(model), whole)


def test_texts_in_pieces_of_like_lengths_equal_the_batch_at_once(model: SentenceTransformer) -> None:
    """Also their ids and rewards, which stay in the rows' order."""
    model.eval()
    texts = ["word " * (1 + 7 * number % 61) for number in range(32)]
    targets = [f"thing {number} " + "of many " * (number * 5 % 23) for number in range(32)]
    ids = torch.arange(64).reshape(2, 32).T.clone()
    ids[5] = ids[20]

    def run(sort_by_length: bool) -> tuple[float, dict[str, torch.Tensor], int]:
        passes: list[int] = []
        hook = model[0].register_forward_hook(lambda module, args, output: passes.append(1))
        reward = EMAReward(model, decay=0.5)
        loss = HardnessWeightedLoss(model, temperature=0.1, reward=reward, sort_by_length=sort_by_length)
        model.zero_grad()
        value = loss(preprocess(model, [texts, targets]), ids)
        hook.remove()
        value.backward()
        return value.item(), gradients(model), len(passes)

    value, found, passes = run(True)
    whole, expected, least = run(False)
    assert value == pytest.approx(whole, rel=1e-6)
    assert passes > least == 4  # the copy that rewards takes as many
    assert_same_gradients(found, expected)


def test_pieces_cover_the_samples_and_cost_least() -> None:
    lengths = torch.tensor([1] * 32 + [100] * 32)
    assert like_lengths(lengths) == [(0, 32), (32, 64)]
    assert like_lengths(torch.full((64,), 9)) == [(0, 64)]
    assert like_lengths(torch.tensor([1, 500, 1000])) == [(0, 1), (1, 2), (2, 3)]
    assert like_lengths(torch.tensor([7])) == [(0, 1)]


def _rank(rank: int, inputs: list[list[Any]], options: dict[str, Any]) -> dict[str, Any]:
    model = load_model("nano", device="cpu").eval()
    share = slice(rank * 3, rank * 3 + 3)
    parallel = DistributedDataParallel(model)
    loss_function = HardnessWeightedLoss(parallel, temperature=0.1, **options)
    loss = loss_function(preprocess(model, inputs, share), IDS[share])
    loss.backward()
    return {"loss": loss.detach(), "gradients": gradients(model)}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"impl": "reference"},
        {"impl": "tiled", "mini_batch_size": 2},
        {"impl": "stored", "matryoshka_dims": [64, 384]},
        {"impl": "reference", "reward": NormalizedReward()},
        {"impl": "tiled", "reward": MaskedReward(-0.05)},
        {"impl": "tiled", "weighting": "hard_negatives", "positive_margin": 0.2, "mini_batch_size": 2},
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
def test_two_processes_equal_one(model: SentenceTransformer, inputs: list[list[Any]], options: dict[str, Any]) -> None:
    model.eval()
    the_same = {
        key: options[key] for key in ("matryoshka_dims", "reward", "weighting", "positive_margin") if key in options
    }
    whole = HardnessWeightedLoss(model, temperature=0.1, impl="reference", **the_same)
    loss = whole(preprocess(model, inputs), IDS)
    loss.backward()
    ranks = in_processes(_rank, inputs, options)
    assert sum(r["loss"].item() for r in ranks) / 2 == pytest.approx(loss.item(), rel=1e-5)
    for result in ranks:  # DDP has averaged them already
        assert_same_gradients(result["gradients"], gradients(model))


def test_a_reward_function_and_an_ema_of_the_model(model: SentenceTransformer, inputs: list[list[Any]]) -> None:
    model.eval()
    features = preprocess(model, inputs)
    own = HardnessWeightedLoss(model)(features, IDS)
    cosine = HardnessWeightedLoss(model, reward=lambda query, target: query @ target.T)(features, IDS)
    assert cosine.item() == pytest.approx(own.item(), rel=1e-6)
    constant = HardnessWeightedLoss(model, reward=lambda q, t: torch.zeros(len(q), len(t)))(features, IDS)
    assert constant.item() == pytest.approx(HardnessWeightedLoss(model, alpha=0.0)(features, IDS).item(), rel=1e-6)
    ema = HardnessWeightedLoss(model, reward=EMAReward(model, decay=0.5))(features, IDS)
    assert ema.item() == pytest.approx(own.item(), rel=1e-5)  # before the first step the average is the model


@pytest.mark.parametrize("mini_batch_size", [None, 2])
def test_the_ema_follows_at_its_pace(
    model: SentenceTransformer, inputs: list[list[Any]], mini_batch_size: int | None
) -> None:
    reward = EMAReward(model, decay=0.75)
    loss = HardnessWeightedLoss(model, reward=reward, mini_batch_size=mini_batch_size).train()
    name = "0.model.projector.0.weight"
    weight = dict(model.named_parameters())[name]
    before = weight.detach().clone()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    loss(preprocess(model, inputs), IDS).backward()
    optimizer.step()
    after = weight.detach().clone()
    assert not torch.equal(before, after)
    for _ in range(3):  # three forwards, one step: one update
        loss(preprocess(model, inputs), IDS)
    average = dict(reward.model.named_parameters())[name]
    assert torch.allclose(average, 0.75 * before + 0.25 * after, atol=1e-6)
    frozen = dict(reward.model.named_parameters())["0.model.vision_tower.stem.weight"]
    assert frozen is dict(model.named_parameters())["0.model.vision_tower.stem.weight"]


def test_normalized_weights_have_the_mean_one() -> None:
    cosine = torch.tensor([[0.9, 0.5, 0.1, 0.7], [0.2, 0.8, 0.3, -0.4]], dtype=torch.float64)
    positive = torch.tensor([0, 1])
    reward = NormalizedReward().of_cosines(cosine, positive, 4.0)
    weight = (4.0 * reward).exp()
    negative = weight.scatter(1, positive[:, None], 0.0)
    assert torch.allclose(negative.sum(1) / 3, torch.ones(2, dtype=torch.float64))
    assert weight[0, 3] / weight[0, 1] == pytest.approx(math.exp(4.0 * 0.2))  # the ratios stay LLaVE's
    assert torch.equal(NormalizedReward().of_cosines(cosine, positive, 0.0), cosine)


def test_masked_negatives_do_not_count(model: SentenceTransformer) -> None:
    generator = torch.Generator().manual_seed(0)
    query, target = (torch.nn.functional.normalize(torch.randn(5, 4, generator=generator)) for _ in range(2))
    cosine = query @ target.T
    above = cosine > cosine.diagonal()[:, None] + 0.1
    assert 0 < above.sum() < 20
    expected = cosine.masked_fill(above, -1e4)
    assert MaskedReward(0.1).of_cosines(cosine, torch.arange(5), 2.0).equal(expected)
    loss = HardnessWeightedLoss(model, temperature=0.1, alpha=2.0, reward=MaskedReward(0.1))
    z = (cosine / 0.1 + 2.0 * cosine).masked_fill(above | torch.eye(5, dtype=torch.bool), -torch.inf)
    positive = cosine.diagonal() / 0.1
    by_hand = torch.stack([torch.log1p((z.logsumexp(axis) - positive).exp()) for axis in (1, 0)]).mean()
    assert loss.calculate_loss([[query], [target]]).item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_text_reward_discounts_like_texts(model: SentenceTransformer, picture: Callable[[int], Image.Image]) -> None:
    """Pairs of like texts are least hard; pictures do not matter to it."""
    queries = ["a red car", "a red car, please", "the moon"]
    reward = TextReward(model)
    embedded = [reward.embed(model.preprocess(column)) for column in (queries, [picture(i) for i in range(3)])]
    assert torch.allclose(embedded[1][0], embedded[1][2], atol=1e-5)  # no text: all alike
    matrix = reward.matrix(embedded, embedded, torch.zeros(3, 3), torch.arange(3), 5.0)
    assert matrix[0, 1] < matrix[0, 2]
    with_picture = [{"text": text, "image": picture(i)} for i, text in enumerate(queries)]
    again = reward.embed(model.preprocess(with_picture))
    assert torch.allclose(again @ again.T, embedded[0] @ embedded[0].T, atol=0.1)
    loss = HardnessWeightedLoss(model, reward=reward, temperature=0.1)
    value = loss([model.preprocess(queries), model.preprocess([picture(i) for i in range(3)])])
    assert torch.isfinite(value)


def test_focal_infonce_by_hand(model: SentenceTransformer) -> None:
    """z_ii = s^2/tau, z_ij = s(s+m)/tau, both directions, the gradient through both factors."""
    generator = torch.Generator().manual_seed(1)
    query, target = (
        torch.nn.functional.normalize(torch.randn(4, 6, generator=generator, dtype=torch.float64)).requires_grad_()
        for _ in range(2)
    )
    cosine = query @ target.T
    z = cosine * (cosine + 0.3 * (1 - torch.eye(4))) / 0.2
    both = [torch.nn.functional.cross_entropy(logits, torch.arange(4)) for logits in (z, z.T)]
    expected = torch.stack(both).mean()
    loss = focal_infonce_loss(query, target, temperature=0.2)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.allclose(*(torch.autograd.grad(value, query, retain_graph=True)[0] for value in (loss, expected)))
    module = FocalInfoNCELoss(model, temperature=0.2)
    assert module.calculate_loss([[query], [target]]).item() == pytest.approx(loss.item(), rel=1e-10)
    assert module.get_config_dict()["margin"] == 0.3


def test_sorted_rows_are_the_rows_of_labels_and_rewards(model: SentenceTransformer) -> None:
    """Lengths fall, so that every column is reordered; masks by id and the EMA's reward must follow."""
    queries = ["one two three four five six", "one two three four", "one two", "one"]
    targets = ["a b c d e f g h", "a b c", "a b c d e", "a"]
    labels = torch.tensor([[1, 5], [2, 6], [3, 5], [4, 7]])
    model.eval()
    for reward in ("self", EMAReward(model), TextReward(model)):
        plain, sorted_ = (
            HardnessWeightedLoss(model, temperature=0.1, reward=reward, **options)
            for options in ({}, {"mini_batch_size": 1})
        )
        features = [model.preprocess(column) for column in (queries, targets)]
        expected = plain([dict(column) for column in features], labels)
        assert sorted_([dict(column) for column in features], labels).item() == pytest.approx(expected.item(), rel=1e-5)


def test_bad_inputs_are_named(model: SentenceTransformer, inputs: list[list[Any]]) -> None:
    features = preprocess(model, inputs)
    loss = HardnessWeightedLoss(model)
    with pytest.raises(ValueError, match="query and a positive column"):
        loss(features[:1])
    with pytest.raises(ValueError, match="integer ids"):
        loss(features, torch.rand(6))
    with pytest.raises(ValueError, match="labels have 3 ids per row for 2 columns"):
        loss(features[:2], IDS)
    for option in ({"temperature": 0.0}, {"alpha": -1.0}, {"mini_batch_size": 0}, {"impl": "x"}):
        with pytest.raises(ValueError, match=r"must be|is not one of"):
            HardnessWeightedLoss(model, **option)
