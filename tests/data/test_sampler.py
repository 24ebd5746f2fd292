"""Batches of one task, on all ranks together, in an order of seed and epoch alone."""

import pytest
from accelerate.data_loader import BatchSamplerShard

from llave.data.sampler import OneTaskBatchSampler

NAMES = ["a"] * 50 + ["b"] * 33 + ["c"] * 3


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_global_batch_is_of_one_data_set(world: int) -> None:
    ranks = [
        list(
            BatchSamplerShard(
                OneTaskBatchSampler(NAMES, batch_size=4, world_size=world), world, rank, even_batches=False
            )
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
    assert len(seen) == len(set(seen)) == 4 * len(OneTaskBatchSampler(NAMES, batch_size=4, world_size=world))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        sampler = OneTaskBatchSampler(NAMES, batch_size=4, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


def test_weights_draw_more_or_fewer_rows() -> None:
    sampler = OneTaskBatchSampler(NAMES, batch_size=5, weights={"a": 2.5, "b": 0.2})
    rows = [row for batch in sampler for row in batch]
    assert sum(NAMES[row] == "a" for row in rows) == 125
    assert sum(NAMES[row] == "b" for row in rows) == 5
    assert min(rows.count(row) for row in range(50)) == 2  # every row comes before any comes a third time
    assert len(list(sampler)) == len(sampler)


def test_too_little_data_is_named() -> None:
    with pytest.raises(ValueError, match=r"no data set fills a batch of 128 rows \(a 50, b 33, c 3\)"):
        OneTaskBatchSampler(NAMES, batch_size=64, world_size=2)
