"""Rows that are hard for one another, and batches of them."""

from collections import Counter

import numpy as np
import pytest

from llave.data import clusters
from llave.data.clusters import clustered_order, hard_neighbours
from llave.data.sampler import GlobalBatchSampler


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("block", [3, 1024])
def test_neighbours_are_the_ranks_that_are_wanted(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "BLOCK", block)
    draw = np.random.default_rng(0)
    query_NE, target_NE = unit(draw.normal(size=(20, 4))), unit(draw.normal(size=(20, 4)))
    ids_N2 = np.stack([np.arange(20), np.arange(100, 120)], axis=1)
    ids_N2[7, 1] = ids_N2[3, 1]
    ids_N2[9, 0] = ids_N2[3, 0]
    found = hard_neighbours(query_NE, target_NE, ids_N2, skip=2, neighbours=5)
    for row in range(20):
        same = (ids_N2 == ids_N2[row]).any(1)
        order = sorted((other for other in range(20) if not same[other]), key=lambda o: -query_NE[row] @ target_NE[o])
        assert found[row].tolist() == order[2:7]
    assert not {3, 7, 9} & set(found[3].tolist())


def test_few_rows_and_rows_without_a_vector() -> None:
    vectors = unit(np.eye(4) + 0.1)
    vectors[2] = np.nan
    ids_N2 = np.arange(8).reshape(4, 2)
    found = hard_neighbours(vectors, vectors, ids_N2, skip=0, neighbours=50)
    assert found.shape == (4, 3)
    assert 2 not in found
    assert (found[2] == -1).all()
    assert hard_neighbours(vectors, vectors, ids_N2, skip=5, neighbours=5).shape == (4, 0)


def test_clusters_are_found_and_batches_are_made_of_them() -> None:
    """Twelve topics of eight rows, in any order: a cluster is a topic."""
    draw = np.random.default_rng(1)
    topic_N = draw.permutation(np.repeat(np.arange(12), 8))
    vectors = unit(np.eye(12)[topic_N] + 0.01 * draw.normal(size=(96, 12)))
    ids_N2 = np.arange(192).reshape(96, 2)
    order = clustered_order(hard_neighbours(vectors, vectors, ids_N2, skip=0, neighbours=7), 8)
    assert sorted(order.tolist()) == list(range(96))
    assert (np.ptp(topic_N[order].reshape(12, 8), axis=1) == 0).all()

    ids = {"other": np.arange(1000, 1032).reshape(16, 2), "clustered": ids_N2}
    sampler = GlobalBatchSampler(ids, batch_size=16, clusters={"clustered": order}, cluster_size=8, seed=3)
    epochs = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        batches = sampler.global_batches()
        assert len(batches) == 7
        assert Counter(batches.ravel().tolist()) == Counter(range(112))
        for batch in batches:
            if batch.min() >= 16:
                assert sorted(Counter(topic_N[batch - 16].tolist()).values()) == [8, 8]
        epochs.append(batches)
    assert not np.array_equal(*epochs)
    two = GlobalBatchSampler(ids, batch_size=8, world_size=2, clusters={"clustered": order}, cluster_size=8, seed=3)
    two.set_epoch(1)
    assert np.array_equal(two.global_batches(), epochs[1])


def test_rows_that_fill_no_cluster_are_drawn_too() -> None:
    ids = {"a": np.arange(38).reshape(19, 2)}
    order = np.arange(19)[::-1].copy()
    sampler = GlobalBatchSampler(ids, batch_size=8, clusters={"a": order}, cluster_size=4, weights={"a": 16 / 19 * 2})
    drawn = Counter(sampler.global_batches().ravel().tolist())
    assert set(drawn) == set(range(19))
    with pytest.raises(ValueError, match="cluster_size must divide 8 rows, got 3"):
        GlobalBatchSampler(ids, batch_size=8, clusters={"a": order}, cluster_size=3)
