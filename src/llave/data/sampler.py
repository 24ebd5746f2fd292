"""Batches of one task: every global batch (all ranks together) comes from a single data set.

In-batch negatives of another task are easy: a model tells a digit from a photograph without learning
anything. sentence-transformers' samplers keep a batch pure on each rank, not across ranks.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch.utils.data import BatchSampler

__all__ = ["OneTaskBatchSampler"]


class OneTaskBatchSampler(BatchSampler):
    """Index batches; ``world_size`` consecutive ones share a data set, as accelerate deals them out to ranks.

    The order is a function of seed and epoch alone, so a resumed run sees what an uninterrupted one does.

    Args:
        names: data set of every row.
        batch_size: rows per rank.
        world_size: number of ranks.
        seed: of the order.
        weights: rows drawn per epoch, as a multiple of a data set's size; default 1.

    Raises:
        ValueError: no data set fills one global batch.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        batch_size: int,
        world_size: int = 1,
        seed: int = 0,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            rows.setdefault(name, []).append(row)
        self.rows = {name: torch.tensor(rows[name]) for name in sorted(rows)}
        self.batch_size = batch_size
        self.world_size = world_size
        self.seed = seed
        self.weights = dict(weights or {})
        self.epoch = 0
        self.drop_last = True
        if len(self) == 0:
            sizes = ", ".join(f"{name} {len(index)}" for name, index in self.rows.items())
            raise ValueError(
                f"no data set fills a batch of {batch_size * world_size} rows ({sizes}); lower batch_size or add data"
            )

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def _drawn(self, name: str) -> int:
        return int(len(self.rows[name]) * self.weights.get(name, 1.0))

    def __len__(self) -> int:
        size = self.batch_size * self.world_size
        return self.world_size * sum(self._drawn(name) // size for name in self.rows)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        size = self.batch_size * self.world_size
        batches: list[torch.Tensor] = []
        for name, index in self.rows.items():
            drawn = self._drawn(name)
            passes = -(-drawn // len(index))
            order = torch.cat([index[torch.randperm(len(index), generator=generator)] for _ in range(passes)])[:drawn]
            batches += order[: drawn // size * size].reshape(-1, size)
        for batch in torch.randperm(len(batches), generator=generator).tolist():
            for part in batches[batch].reshape(self.world_size, self.batch_size):
                yield part.tolist()
