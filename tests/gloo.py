"""The same work in several processes of one group, under gloo."""

import datetime
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing

__all__ = ["in_processes"]


def in_processes(work: Callable[..., Any], *arguments: Any, world: int = 2) -> list[Any]:
    """What ``work(rank, *arguments)``, a function of a module, returns in each: tensors, numbers, lists of them."""
    with tempfile.TemporaryDirectory() as directory:
        torch.multiprocessing.spawn(_run, args=(world, directory, work, arguments), nprocs=world)
        return [torch.load(Path(directory) / f"{rank}.pt", weights_only=True) for rank in range(world)]


def _run(rank: int, world: int, directory: str, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{directory}/rendezvous",
        rank=rank,
        world_size=world,
        timeout=datetime.timedelta(seconds=120),
    )
    torch.save(work(rank, *arguments), f"{directory}/{rank}.pt")
    torch.distributed.destroy_process_group()
