"""One process of :mod:`benchmarks.network`, in a network namespace: what it sends for each part of a step."""

import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from llave.files import write_json
from llave.losses.hardness import HardnessWeightedLoss

COUNTER = Path("/sys/class/net/eth0/statistics/tx_bytes")
STEPS = 5


def main() -> None:
    head, world, rank, pairs, dim, parameters = sys.argv[1], *map(int, sys.argv[2:7])
    torch.distributed.init_process_group("gloo", init_method=f"tcp://{head}:29500", rank=rank, world_size=world)
    torch.manual_seed(rank)
    columns = [[torch.randn(pairs, dim, requires_grad=True)] for _ in range(2)]
    side = round(parameters**0.5)
    layer = nn.parallel.DistributedDataParallel(nn.Linear(side, side, bias=False))
    parts: dict[str, Callable[[], object]] = {
        "reduce": lambda: layer(torch.ones(1, side)).sum().backward(),
        "tiled": loss_step("tiled", columns),
        "reference": loss_step("reference", columns),
    }
    write_json(Path(sys.argv[7]), {name: sent(run) for name, run in parts.items()})
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def loss_step(impl: Any, columns: list[list[Tensor]]) -> Callable[[], object]:
    """The loss of all processes' pairs, with the gradients of this one's vectors."""
    loss = HardnessWeightedLoss(SentenceTransformer(modules=[nn.Identity()]), impl=impl)
    return lambda: loss.calculate_loss(columns, with_backward=True)


def sent(run: Callable[[], object]) -> float:
    """Bytes in a step, the median of some after one of warming up; the processes wait for each other between them."""
    counts = []
    for _ in range(1 + STEPS):
        torch.distributed.barrier()
        before = int(COUNTER.read_text())
        run()
        torch.distributed.barrier()
        counts.append(int(COUNTER.read_text()) - before)
    return statistics.median(counts[1:])


if __name__ == "__main__":
    main()
