"""Global batches: which rows all ranks together see in a step.

In-batch negatives of another task are easy: a model tells a digit from a photograph without learning
anything. sentence-transformers' samplers keep a batch pure on each rank, not across ranks.

A data set of less than a batch, but of half a one at least, has one batch in each epoch, which shows some of its rows
twice (they are masked as each other's positives). A smaller one would be mostly copies: it is not drawn, and
:meth:`GlobalBatchSampler.small` names it.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import BatchSampler

from llave.data.spread import Groups, deal

__all__ = ["GlobalBatchSampler"]


class GlobalBatchSampler(BatchSampler):
    """Index batches; ``world_size`` consecutive ones are a global batch, as accelerate deals them out to ranks.

    The global batches are a function of seed, epoch, ids and ``batch_size * world_size`` alone: W ranks of B rows see
    what one rank of W * B rows does, and a resumed run what an uninterrupted one does. Equal targets and equal queries
    are kept apart where the data allows it (:mod:`llave.data.spread`).

    Args:
        ids: content ids of query and target, (N, 2), by data set. Rows are numbered over the data sets in this order.
        batch_size: rows per rank.
        world_size: number of ranks.
        seed: of the order.
        weights: rows drawn per epoch, as a multiple of a data set's size; default 1.
        sub_batch: None makes every global batch of one data set. A number mixes: a global batch is made of blocks of
            so many rows of one data set, in the ratio of the drawn rows, as nearly as whole blocks allow.
        clusters: rows of a data set in an order in which each ``cluster_size`` in turn belong together
            (:mod:`llave.data.clusters`): its global batches are made of whole clusters, drawn at random. Equals are
            not kept apart there.
        cluster_size: rows of a cluster.

    Raises:
        ValueError: nothing fills one global batch, ``sub_batch`` does not divide ``batch_size``, or ``cluster_size``
            a global batch.
    """

    def __init__(
        self,
        ids: Mapping[str, NDArray[np.int64]],
        *,
        batch_size: int,
        world_size: int = 1,
        seed: int = 0,
        weights: Mapping[str, float] | None = None,
        sub_batch: int | None = None,
        clusters: Mapping[str, NDArray[np.int64]] | None = None,
        cluster_size: int = 1,
    ) -> None:
        if sub_batch is not None and (sub_batch < 1 or batch_size % sub_batch):
            raise ValueError(f"sub_batch must divide batch_size {batch_size}, got {sub_batch}")
        if batch_size * world_size % cluster_size:
            raise ValueError(f"cluster_size must divide {batch_size * world_size} rows, got {cluster_size}")
        self.groups = {name: Groups(rows) for name, rows in ids.items()}
        sizes = [len(rows) for rows in ids.values()]
        self.first = dict(zip(ids, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))
        self.batch_size = batch_size
        self.world_size = world_size
        self.seed = seed
        self.weights = dict(weights or {})
        self.sub_batch = sub_batch
        self.clusters = dict(clusters or {})
        self.cluster_size = cluster_size
        self.epoch = 0
        self.drop_last = True
        if len(self) == 0:
            found = ", ".join(f"{name} {groups.rows}" for name, groups in self.groups.items())
            what = "no data set fills a batch" if sub_batch is None else "the data sets do not fill a batch"
            raise ValueError(f"{what} of {batch_size * world_size} rows ({found}); lower batch_size or add data")

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        blocks = sum(self._blocks().values())
        return self.world_size * (blocks if self.sub_batch is None else blocks // self._blocks_per_batch())

    def __iter__(self) -> Iterator[list[int]]:
        for batch_G in self.global_batches():
            yield from batch_G.reshape(self.world_size, self.batch_size).tolist()

    def global_batches(self) -> NDArray[np.int64]:
        """Rows of every global batch of the epoch, in order: (batches, batch_size * world_size)."""
        generator = np.random.Generator(np.random.PCG64([self.seed, self.epoch]))
        if self.sub_batch is None:
            parts = [
                self._dealt(name, np.full(blocks, self._size()), generator).reshape(-1, self._size())
                for name, blocks in self._blocks().items()
            ]
            batches = np.concatenate(parts)
            return batches[generator.permutation(len(batches))]
        return self._mixed(self.sub_batch, generator)

    def _mixed(self, sub_batch: int, generator: np.random.Generator) -> NDArray[np.int64]:
        per_batch = self._blocks_per_batch()
        blocks = self._blocks()
        # Blocks of a data set at even distances, from a random start: every batch has the ratio of the whole.
        owner = np.repeat(np.arange(len(blocks)), list(blocks.values()))
        at = np.concatenate([(np.arange(n) + generator.random()) / max(n, 1) for n in blocks.values()])
        owner = owner[np.argsort(at, kind="stable")]
        owner_BK = np.sort(owner[: len(owner) // per_batch * per_batch].reshape(-1, per_batch), axis=1)
        batches = np.empty((len(owner_BK), per_batch, sub_batch), np.int64)
        for number, name in enumerate(blocks):
            mine_BK = owner_BK == number
            counts = mine_BK.sum(1)
            batches[mine_BK] = self._dealt(name, counts * sub_batch, generator).reshape(-1, sub_batch)
        return batches.reshape(len(batches), -1)[generator.permutation(len(batches))]

    def _dealt(self, name: str, counts: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
        """Rows of a data set for batches of these sizes; every row comes before any comes again."""
        groups = self.groups[name]
        total = int(counts.sum())
        clusters = self.clusters.get(name)
        passes = [
            generator.permutation(groups.rows) if clusters is None else self._shuffled(clusters, generator)
            for _ in range(-(-total // max(groups.rows, 1)))
        ]
        order: NDArray[np.int64] = np.concatenate([np.empty(0, np.int64), *passes])[:total]
        if total and clusters is None:
            counts = counts[counts > 0]
            order = deal(order, counts, groups, generator)
        order += self.first[name]
        return order

    def _shuffled(self, clusters: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
        """The rows with their clusters in random order; those that fill none come last."""
        whole = len(clusters) // self.cluster_size * self.cluster_size
        blocks = clusters[:whole].reshape(-1, self.cluster_size)
        return np.concatenate([blocks[generator.permutation(len(blocks))].ravel(), clusters[whole:]])

    def small(self) -> dict[str, bool]:
        """Data sets that do not fill a batch (or a block, where they are mixed), and whether they are drawn anyway."""
        size = self.whole
        return {name: blocks > 0 for name, blocks in self._blocks().items() if self._drawn(name) < size}

    @property
    def whole(self) -> int:
        """Rows of a data set that stand together: a global batch, or a block of it where they are mixed."""
        return self.sub_batch or self._size()

    def _drawn(self, name: str) -> int:
        """Rows of a data set that an epoch should have."""
        return int(self.groups[name].rows * self.weights.get(name, 1.0))

    def _size(self) -> int:
        return self.batch_size * self.world_size

    def _blocks_per_batch(self) -> int:
        return self._size() // (self.sub_batch or self._size())

    def _blocks(self) -> dict[str, int]:
        """Whole blocks that a data set's drawn rows fill; one of a data set that fills half a block."""
        size = self.whole
        return {
            name: self._drawn(name) // size or int(2 * min(self._drawn(name), groups.rows) >= size)
            for name, groups in self.groups.items()
        }
