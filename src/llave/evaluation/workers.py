"""Batches through a model: here, with the next batch's files decoded ahead, or in processes that share the batches.

The batches are the same either way, and so are the vectors.
"""

import queue
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from llave.errors import DataError, UserError
from llave.evaluation.encoder import Encoder, Vector
from llave.evaluation.items import Source
from llave.models.prompts import ModelInput

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["encode_here", "encode_in_processes"]

DECODERS = 4
POLL_SECONDS = 1.0

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
    """Vectors or reasons, batch by batch in any order.

    Each process takes the next batch when it is done with one. With GPUs, process i is on GPU i modulo their number;
    on a CPU they share its threads.

    Raises:
        UserError: what a process met that no batch can pass, or that it died.
    """
    import torch
    import torch.multiprocessing as multiprocessing

    context = multiprocessing.get_context("spawn")
    gpus = torch.cuda.device_count() if model.device.type == "cuda" else 0
    devices = [f"cuda:{number % gpus}" if gpus else str(model.device) for number in range(processes)]
    threads = max(1, torch.get_num_threads() // processes)
    todo: Any = context.Queue()
    done: Any = context.Queue()
    started = [
        context.Process(target=_work, args=(model, device, threads, num_frames, todo, done), daemon=True)
        for device in devices
    ]
    try:
        for process in started:
            process.start()
        for batch in batches:
            todo.put(batch)
        for _ in started:
            todo.put(None)
        for _ in batches:
            answer = _next(done, started)
            if isinstance(answer, str):
                raise UserError(answer)
            yield answer
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.join()


def _next(done: Any, processes: Sequence[Any]) -> Encoded | str:
    while True:
        try:
            answer: Encoded | str = done.get(timeout=POLL_SECONDS)
            return answer
        except queue.Empty:
            for process in processes:
                if process.exitcode not in (None, 0):
                    raise UserError(
                        f"an encoding process ended with code {process.exitcode} (no memory left?); what is done is in "
                        "the cache, so the same command goes on"
                    ) from None


def _work(model: "SentenceTransformer", device: str, threads: int, num_frames: int, todo: Any, done: Any) -> None:
    """What a process runs."""
    import torch

    from llave.models.load import use_feature_cache
    from llave.terminal import quiet_libraries

    quiet_libraries()
    torch.set_num_threads(threads)
    try:
        model = model.to(device).eval()
        use_feature_cache(model)
        for answer in encode_here(model, iter(todo.get, None), num_frames):
            done.put(answer)
    except UserError as error:
        done.put(str(error))
    except Exception as error:  # the parent has the terminal
        done.put(f"an encoding process failed: {type(error).__name__}: {error}")


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
