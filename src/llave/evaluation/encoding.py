"""Encode every unique item once: sorted by kind and length, pictures decoded ahead by threads."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Task as ProgressTask
from rich.text import Text

from llave.errors import DataError
from llave.evaluation.cache import EmbeddingCache, content_key
from llave.evaluation.items import ItemError, ItemTable
from llave.models.prompts import ModelInput, num_frames_of, require_video

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["encode_items"]

BATCHES_PER_CHUNK = 4
"""Batches whose pictures are held decoded at a time; as many again are being decoded meanwhile."""
DECODERS = 4

Loaded = ModelInput | DataError


def encode_items(
    model: "SentenceTransformer",
    table: ItemTable,
    *,
    batch_size: int,
    cache: EmbeddingCache | None = None,
    progress: bool = True,
) -> tuple[NDArray[np.float32], dict[int, ItemError]]:
    """Embed all items of a table.

    Returns:
        L2-normalised embeddings (U, D), and the errors of the items that have none (their rows are NaN).

    Raises:
        UserError: there are videos, and the model takes none.
    """
    if any(table.item(number).video for number in range(len(table))):
        require_video(model)
    vectors: dict[int, NDArray[np.float32]] = {}
    errors: dict[int, ItemError] = {}
    keys = _known(table, cache, vectors, errors) if cache is not None else {}
    todo = [number for number in range(len(table)) if number not in vectors and number not in errors]
    with _bar(progress) as bar, ThreadPoolExecutor(DECODERS) as pool:
        job = bar.add_task("encode", total=len(table), completed=len(table) - len(todo))
        for numbers, inputs in _loaded(pool, table, _chunks(table, todo, batch_size * BATCHES_PER_CHUNK)):
            good: list[tuple[int, ModelInput]] = []
            for number, entry in zip(numbers, inputs, strict=True):
                if isinstance(entry, DataError):
                    errors[number] = table.error(number, str(entry))
                else:
                    good.append((number, entry))
            good.sort(key=lambda pair: num_frames_of(pair[1]))
            fresh: dict[int, NDArray[np.float32]] = {}
            for _, alike in groupby(good, key=lambda pair: num_frames_of(pair[1])):
                fresh |= _encode(model, list(alike), batch_size)
            vectors |= fresh
            for number, _ in good:
                if number not in fresh:
                    errors[number] = table.error(number, "the model's embedding of this item is zero or not finite")
            if cache is not None:
                cache.put([keys[number] for number in fresh], list(fresh.values()))
            bar.advance(job, len(numbers))
    width = len(next(iter(vectors.values()))) if vectors else 1
    embedding_UD = np.full((len(table), width), np.nan, dtype=np.float32)
    for number, vector in vectors.items():
        embedding_UD[number] = vector
    return embedding_UD, errors


def _known(
    table: ItemTable, cache: EmbeddingCache, vectors: dict[int, NDArray[np.float32]], errors: dict[int, ItemError]
) -> dict[int, bytes]:
    """Fill in what the cache has, and return the cache key of every readable item."""
    keys: dict[int, bytes] = {}
    for number in range(len(table)):
        try:
            keys[number] = content_key(table.item(number), table.path(number))
        except OSError as error:
            errors[number] = table.error(number, f"{table.path(number)}: cannot read ({error.strerror})")
            continue
        vector = cache.get(keys[number])
        if vector is not None:
            vectors[number] = vector
    return keys


def _chunks(table: ItemTable, numbers: Sequence[int], size: int) -> Iterator[list[int]]:
    """Chunks of one kind, longest texts first, so that a batch that does not fit fails at once."""

    def order(number: int) -> tuple[int, str, str, str]:
        item = table.item(number)
        return -len(item.text), item.text, item.image, item.video

    for kind in ("video+text", "video", "both", "image", "text"):
        ordered = sorted((n for n in numbers if table.kind(n) == kind), key=order)
        for start in range(0, len(ordered), size):
            yield ordered[start : start + size]


def _loaded(
    pool: ThreadPoolExecutor, table: ItemTable, chunks: Iterator[list[int]]
) -> Iterator[tuple[list[int], list[Loaded]]]:
    """Each chunk with its inputs, while the next chunk is being decoded."""
    ahead: tuple[list[int], list[Future[Loaded]]] | None = None
    for numbers in chunks:
        following = (numbers, [pool.submit(_load, table, number) for number in numbers])
        if ahead is not None:
            yield ahead[0], [future.result() for future in ahead[1]]
        ahead = following
    if ahead is not None:
        yield ahead[0], [future.result() for future in ahead[1]]


def _load(table: ItemTable, number: int) -> Loaded:
    try:
        return table.load(number)
    except DataError as error:
        return error


def _encode(
    model: "SentenceTransformer", good: list[tuple[int, ModelInput]], batch_size: int
) -> dict[int, NDArray[np.float32]]:
    """Unit vectors (D,) by item number, without those that are zero or not finite.

    They are normalised again in float32, because half precision leaves norms off by 1e-3.
    """
    if not good:
        return {}
    embedding = model.encode(
        [entry for _, entry in good],
        batch_size=batch_size,
        convert_to_tensor=True,
        normalize_embeddings=True,
        show_progress_bar=False,
    )
    embedding_BD: NDArray[np.float32] = embedding.float().cpu().numpy()
    norm_B = np.linalg.norm(embedding_BD, axis=1)
    return {
        number: vector_D / norm
        for (number, _), vector_D, norm in zip(good, embedding_BD, norm_B, strict=True)
        if np.isfinite(norm) and norm > 0
    }


class _Speed(ProgressColumn):
    def render(self, task: ProgressTask) -> Text:
        return Text(f"{task.speed:,.0f} items/s" if task.speed else "- items/s")


def _bar(enabled: bool) -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not enabled or not console.is_terminal)
