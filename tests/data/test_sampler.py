"""Global batches: of one task or mixed, in an order of seed and epoch alone, equal targets apart."""

from collections import Counter

import numpy as np
import pytest
from accelerate.data_loader import BatchSamplerShard

from llave.data.sampler import GlobalBatchSampler

SIZES = {"a": 50, "b": 33, "c": 3}
NAMES = [name for name, size in SIZES.items() for _ in range(size)]


def unique_ids(**sizes: int) -> dict[str, np.ndarray]:
    """Data sets where no query and no target comes twice."""
    return {name: np.arange(2 * size, dtype=np.int64).reshape(-1, 2) for name, size in sizes.items()}


IDS = unique_ids(**SIZES)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_global_batch_is_of_one_data_set(world: int) -> None:
    ranks = [
        list(
            BatchSamplerShard(GlobalBatchSampler(IDS, batch_size=4, world_size=world), world, rank, even_batches=False)
        )
        for rank in range(world)
    ]
    assert len({len(rank) for rank in ranks}) == 1
    seen: list[int] = []
    for batches in zip(*ranks, strict=True):
        rows = [row for batch in batches for row in batch]
        assert len(rows) == 4 * world
        assert len({NAMES[row] for row in rows}) == 1
        seen += rows
    assert len(seen) == 4 * len(GlobalBatchSampler(IDS, batch_size=4, world_size=world))
    twice = [row for row, number in Counter(seen).items() if number > 1]
    assert [NAMES[row] for row in twice] == (["c"] if world == 1 else [])  # three rows fill most of a batch of four


def test_half_a_batch_of_rows_is_drawn_and_less_is_named() -> None:
    ids = unique_ids(a=50, b=5, c=3, d=8)
    for sub_batch in (None, 8):
        sampler = GlobalBatchSampler(ids, batch_size=8, sub_batch=sub_batch, weights={"d": 0.5})
        assert sampler.small() == {"b": True, "c": False, "d": True}
        drawn = Counter(sampler.global_batches().ravel().tolist())
        assert [drawn[row] for row in range(50, 55)].count(2) == 3
        assert all(drawn[row] >= 1 for row in range(50, 55))
        assert not any(drawn[row] for row in range(55, 58))
        assert all(drawn[row] == 1 for row in range(58, 66))  # half of them are asked for, and fill half a batch
        assert len(sampler) == len(list(sampler)) == 8


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        sampler = GlobalBatchSampler(IDS, batch_size=4, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


@pytest.mark.parametrize("sub_batch", [None, 2])
def test_the_global_batch_does_not_depend_on_the_number_of_ranks(sub_batch: int | None) -> None:
    one = GlobalBatchSampler(IDS, batch_size=8, seed=3, sub_batch=sub_batch)
    two = GlobalBatchSampler(IDS, batch_size=4, world_size=2, seed=3, sub_batch=sub_batch)
    parts = list(two)
    assert list(one) == [left + right for left, right in zip(parts[::2], parts[1::2], strict=True)]


def test_weights_draw_more_or_fewer_rows() -> None:
    sampler = GlobalBatchSampler(IDS, batch_size=5, weights={"a": 2.5, "b": 0.2})
    rows = [row for batch in sampler for row in batch]
    assert sum(NAMES[row] == "a" for row in rows) == 125
    assert sum(NAMES[row] == "b" for row in rows) == 5
    assert min(rows.count(row) for row in range(50)) == 2  # every row comes before any comes a third time
    assert len(list(sampler)) == len(sampler)
    whole = [batch for batch in sampler if NAMES[batch[0]] != "c"]  # c has three rows for a batch of five
    assert all(len(set(batch)) == 5 for batch in whole)  # the same row is its own duplicate


def test_too_little_data_is_named() -> None:
    with pytest.raises(ValueError, match=r"no data set fills a batch of 128 rows \(a 50, b 33, c 3\)"):
        GlobalBatchSampler(IDS, batch_size=64, world_size=2)
    with pytest.raises(ValueError, match=r"the data sets do not fill a batch of 96 rows"):
        GlobalBatchSampler(IDS, batch_size=96, sub_batch=4)
    with pytest.raises(ValueError, match="sub_batch must divide batch_size 8, got 3"):
        GlobalBatchSampler(IDS, batch_size=8, sub_batch=3)


def test_mixed_batches_have_the_ratio_of_the_weighted_sizes() -> None:
    ids = unique_ids(a=600, b=300, c=150)
    sampler = GlobalBatchSampler(ids, batch_size=16, world_size=2, weights={"c": 2.0}, sub_batch=4)
    batches = sampler.global_batches()
    assert len(list(sampler)) == len(sampler) == 2 * len(batches)
    for batch in batches:
        blocks = [set(np.searchsorted([600, 900], block, side="right")) for block in batch.reshape(-1, 4)]
        assert all(len(block) == 1 for block in blocks)  # a block is of one data set
        counts = Counter(block.pop() for block in blocks)
        assert 3 <= counts[0] <= 5  # of 8 blocks, half are a's
        assert 1 <= counts[1] <= 3
        assert 1 <= counts[2] <= 3
    drawn = Counter(batches.ravel().tolist())
    assert max(drawn[row] for row in range(900)) == 1
    assert {drawn[row] for row in range(900, 1050)} <= {1, 2}


def most_of_one(ids: np.ndarray, batches: np.ndarray) -> int:
    return max(max(Counter(ids[batch].tolist()).values()) for batch in batches)


@pytest.mark.parametrize("sub_batch", [None, 8])
def test_equal_targets_are_spread_as_far_as_they_can_be(sub_batch: int | None) -> None:
    """A third of the rows say "yes": each batch has its share, none has more."""
    targets = np.where(np.arange(960) % 3 == 0, -1, np.arange(960))
    ids = {"qa": np.stack([np.arange(960), targets], axis=1)}
    batches = GlobalBatchSampler(ids, batch_size=32, sub_batch=sub_batch).global_batches()
    assert len(batches) == 30
    for batch in batches:
        counts = Counter(targets[batch].tolist())
        assert counts.pop(-1) in (10, 11)
        assert set(counts.values()) == {1}


def test_few_targets_are_allowed_to_meet() -> None:
    labels = np.arange(900) % 9
    ids = {"labels": np.stack([np.arange(900), labels], axis=1)}
    for batch in GlobalBatchSampler(ids, batch_size=50).global_batches():
        assert set(Counter(labels[batch].tolist()).values()) <= {5, 6}


def test_equal_queries_and_equal_targets_are_both_kept_apart() -> None:
    """Five captions a picture, and captions that several pictures share."""
    generator = np.random.default_rng(0)
    ids = np.stack([np.arange(4000) // 5, 10_000 + generator.integers(0, 1500, 4000)], axis=1)
    batches = GlobalBatchSampler({"i2t": ids}, batch_size=40).global_batches()
    assert most_of_one(ids[:, 0], batches) == 1
    assert most_of_one(ids[:, 1], batches) == 1
    assert len(np.unique(batches)) == 4000
