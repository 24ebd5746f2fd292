"""A bulk run on this machine: here, or in processes that share the parts."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from llave.bulk.manifest import Manifest
from llave.bulk.shard import Batches, Counts, ShardWriter
from llave.encode.processes import share

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["run_here", "run_in_processes"]


def run_here(
    model: "SentenceTransformer", todo: Iterable[int], manifest: Manifest, batches: Batches
) -> Iterator[Counts]:
    """Write the shards of the parts in ``todo``, one after the other."""
    yield from map(ShardWriter(manifest, model, batches), todo)


def run_in_processes(
    model: "SentenceTransformer", todo: Sequence[int], manifest: Manifest, batches: Batches, processes: int
) -> Iterator[Counts]:
    """The same in processes; see :func:`~llave.encode.processes.share`."""
    yield from share(model, todo, partial(run_here, manifest=manifest, batches=batches), processes)
