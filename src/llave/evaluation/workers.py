"""Batches through a model: here, with the next batch's files decoded ahead, or in processes that share the batches.

The batches are the same either way, and so are the vectors.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from llave.errors import DataError
from llave.evaluation.encoder import Encoder, Vector
from llave.evaluation.items import Source
from llave.evaluation.processes import share
from llave.models.prompts import ModelInput

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["encode_here", "encode_in_processes"]

DECODERS = 4

Batch = tuple[int, Sequence[Source]]
"""A number and what to load."""
Encoded = tuple[int, list[Vector]]
Loaded = ModelInput | DataError


def encode_here(model: "SentenceTransformer", batches: Iterable[Batch], num_frames: int) -> Iterator[Encoded]:
    """Vectors or reasons, batch by batch; while one is encoded, the next one is loaded."""
    encoder = Encoder(model)
    with ThreadPoolExecutor(DECODERS) as pool:
        for number, loading in _ahead(pool, batches, num_frames):
            loaded = [future.result() for future in loading]
            vectors = iter(encoder([entry for entry in loaded if not isinstance(entry, DataError)]))
            yield number, [str(entry) if isinstance(entry, DataError) else next(vectors) for entry in loaded]


def encode_in_processes(
    model: "SentenceTransformer", batches: Sequence[Batch], num_frames: int, processes: int
) -> Iterator[Encoded]:
    """Vectors or reasons, batch by batch in any order; see :func:`~llave.evaluation.processes.share`."""
    yield from share(model, batches, partial(encode_here, num_frames=num_frames), processes)


def _ahead(
    pool: ThreadPoolExecutor, batches: Iterable[Batch], num_frames: int
) -> Iterator[tuple[int, list[Future[Loaded]]]]:
    waiting: tuple[int, list[Future[Loaded]]] | None = None
    for number, sources in batches:
        following = (number, [pool.submit(_load, source, num_frames) for source in sources])
        if waiting is not None:
            yield waiting
        waiting = following
    if waiting is not None:
        yield waiting


def _load(source: Source, num_frames: int) -> Loaded:
    try:
        return source.load(num_frames)
    except DataError as error:
        return error
