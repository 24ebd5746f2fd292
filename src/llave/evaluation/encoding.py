"""Encode every unique item of a table once: known ones from the cache, the others in batches of like cost."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from llave.data.images import picture_size
from llave.data.video import NUM_FRAMES
from llave.evaluation.batches import Estimate, TokenCounter, plan_batches
from llave.evaluation.cache import EmbeddingCache
from llave.evaluation.items import ItemError, ItemTable, Source
from llave.evaluation.progress import encoding_bar
from llave.evaluation.workers import Encoded, encode_here, encode_in_processes
from llave.models.prompts import require_video

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Encoding", "encode_items"]

READERS = 8
TOKENS_PER_BATCH = {"cuda": 65_536, "cpu": 2_048}
"""Default budget. A CPU is slower with more, whose activations leave its cache; a GPU's memory holds this many at 7B
without gradients."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """Embeddings of a table's items.

    Args:
        embedding_UD: (U, D) unit vectors, float32; NaN where an item has none.
        errors: by item number.
        encoded: items that went through the model; those that were cached or alike did not.
    """

    embedding_UD: NDArray[np.float32]
    errors: dict[int, ItemError]
    encoded: int


@dataclass(frozen=True, slots=True)
class _Measured:
    """A hash of the text and the file, one of the file alone, and (height, width) of a picture."""

    key: bytes
    content: bytes
    size: tuple[int, int] | None


def encode_items(
    model: "SentenceTransformer",
    table: ItemTable,
    *,
    batch_size: int = 64,
    tokens_per_batch: int | None = None,
    cache: EmbeddingCache | None = None,
    processes: int = 1,
    num_frames: int = NUM_FRAMES,
    progress: bool = True,
) -> Encoding:
    """Embed all items of a table; those of equal content once.

    Args:
        batch_size: items of a batch at most.
        tokens_per_batch: tokens of a batch at most, estimated; None is :data:`TOKENS_PER_BATCH`.
        cache: keeps every batch as soon as it is encoded.
        processes: that share the batches; 1 encodes here, 0 is one per GPU.
        num_frames: frames of a video.

    Raises:
        UserError: see :class:`~llave.evaluation.encoder.Encoder`; a process that died; videos for a model that takes
            none.
    """
    if any(table.item(number).video for number in range(len(table))):
        require_video(model)
    errors: dict[int, ItemError] = {}
    with encoding_bar(progress) as bar:
        measured = _measure(table, num_frames, errors, bar.reading(len(table)))
        of_key: dict[bytes, int] = {}
        for number, found in measured.items():
            of_key.setdefault(found.key, number)
        vectors = {key: vector for key in of_key if cache is not None and (vector := cache.get(key)) is not None}
        todo = [number for key, number in of_key.items() if key not in vectors]
        estimates = _estimate(model, table, todo, measured, num_frames)
        budget = tokens_per_batch or TOKENS_PER_BATCH.get(model.device.type, TOKENS_PER_BATCH["cuda"])
        batches = [
            [todo[index] for index in batch]
            for batch in plan_batches(estimates, max_items=batch_size, max_tokens=budget)
        ]
        tokens = dict(zip(todo, (estimate.tokens for estimate in estimates), strict=True))
        done = bar.encoding(items=len(of_key), known=len(vectors), tokens=sum(tokens.values()))
        for batch, outcome in _run(model, table, batches, num_frames, processes):
            good = [(n, vector) for n, vector in zip(batch, outcome, strict=True) if not isinstance(vector, str)]
            bad = [(n, reason) for n, reason in zip(batch, outcome, strict=True) if isinstance(reason, str)]
            errors |= {number: table.error(number, reason) for number, reason in bad}
            fresh = {measured[number].key: vector for number, vector in good}
            if cache is not None and fresh:
                cache.put(list(fresh), np.stack(list(fresh.values())))
            vectors |= fresh
            done(len(batch), sum(tokens[number] for number in batch))
    width = len(next(iter(vectors.values()))) if vectors else 1
    embedding_UD = np.full((len(table), width), np.nan, dtype=np.float32)
    for number, about in measured.items():
        if about.key in vectors:
            embedding_UD[number] = vectors[about.key]
        elif number not in errors:
            errors[number] = table.error(number, errors[of_key[about.key]].message)
    return Encoding(embedding_UD, errors, sum(1 for number in todo if number not in errors))


def _run(
    model: "SentenceTransformer", table: ItemTable, batches: Sequence[list[int]], num_frames: int, processes: int
) -> Iterator[tuple[list[int], list[NDArray[np.float32] | str]]]:
    """Each batch's item numbers with what became of them."""
    loading = [(place, [table.source(number) for number in batch]) for place, batch in enumerate(batches)]
    encoded: Iterator[Encoded]
    processes = processes or torch.cuda.device_count()
    if processes > 1 and len(batches) > 1:
        encoded = encode_in_processes(model, loading, num_frames, min(processes, len(batches)))
    else:
        encoded = encode_here(model, loading, num_frames)
    for place, found in encoded:
        yield batches[place], found


def _measure(
    table: ItemTable, num_frames: int, errors: dict[int, ItemError], advance: Callable[[], None]
) -> dict[int, _Measured]:
    """Hash and size of every item that can be read."""
    found: dict[int, _Measured] = {}

    def measure(number: int) -> _Measured | OSError:
        try:
            return _inspect(table.source(number), num_frames)
        except OSError as error:
            return error

    with ThreadPoolExecutor(READERS) as pool:
        for number, about in enumerate(pool.map(measure, range(len(table)), chunksize=64)):
            advance()
            if isinstance(about, OSError):
                errors[number] = table.error(number, f"{table.path(number)}: cannot read ({about.strerror})")
            else:
                found[number] = about
    return found


def _inspect(source: Source, num_frames: int) -> _Measured:
    blocks = source.content(num_frames)
    text, head = next(blocks), next(blocks, b"")
    content = hashlib.sha256(head)
    for block in blocks:
        content.update(block)
    size = picture_size(head) if source.kind == "picture" else None
    return _Measured(hashlib.sha256(text + content.digest()).digest(), content.digest() if head else b"", size)


def _estimate(
    model: "SentenceTransformer", table: ItemTable, numbers: Sequence[int], measured: dict[int, _Measured], frames: int
) -> list[Estimate]:
    counter = TokenCounter(model, frames)
    sources = [table.source(number) for number in numbers]
    texts = counter.texts([source.text for source in sources])
    return [
        Estimate(source.kind, counter.media(source.kind, measured[n].size), text, measured[n].content)
        for n, source, text in zip(numbers, sources, texts, strict=True)
    ]
