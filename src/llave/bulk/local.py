"""A bulk run on this machine: here, or in processes that share the parts."""

import queue
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llave.bulk.manifest import Manifest
from llave.bulk.shard import ShardWriter
from llave.errors import UserError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["run_here", "run_in_processes"]

POLL_SECONDS = 1.0
Step = tuple[int, int, int]
"""Items that went through the model since the last step; vectors and errors of a shard that was finished, else 0."""


def run_here(manifest: Manifest, model: "SentenceTransformer", todo: Sequence[int], **batches: Any) -> Iterator[Step]:
    """Write the shards of the parts in ``todo``, one after the other."""
    writer = ShardWriter(manifest, model, **batches)
    for number in todo:
        vectors, errors = writer(number)
        yield vectors, vectors, errors


def run_in_processes(
    manifest: Manifest, model: "SentenceTransformer", todo: Sequence[int], processes: int, **batches: Any
) -> Iterator[Step]:
    """The same in processes, each of which takes the next part when it is done with one.

    With GPUs, process i is on GPU i modulo their number; on a CPU they share its threads.

    Raises:
        UserError: what no part can pass, or a process that died. Shards that are there stay.
    """
    import torch
    import torch.multiprocessing as multiprocessing

    context = multiprocessing.get_context("spawn")
    gpus = torch.cuda.device_count() if model.device.type == "cuda" else 0
    devices = [f"cuda:{number % gpus}" if gpus else str(model.device) for number in range(processes)]
    threads = max(1, torch.get_num_threads() // processes)
    waiting: Any = context.Queue()
    done: Any = context.Queue()
    started = [
        context.Process(target=_work, args=(manifest, model, device, threads, batches, waiting, done), daemon=True)
        for device in devices
    ]
    try:
        for process in started:
            process.start()
        for number in [*todo, *[None] * processes]:
            waiting.put(number)
        for _ in todo:
            answer = _next(done, started)
            if isinstance(answer, str):
                raise UserError(answer)
            yield answer
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.join()


def _next(done: Any, processes: Sequence[Any]) -> Step | str:
    while True:
        try:
            answer: Step | str = done.get(timeout=POLL_SECONDS)
            return answer
        except queue.Empty:
            for process in processes:
                if process.exitcode not in (None, 0):
                    raise UserError(
                        f"a process ended with code {process.exitcode} (no memory left?); finished shards are kept, so "
                        "the same command goes on"
                    ) from None


def _work(
    manifest: Manifest,
    model: "SentenceTransformer",
    device: str,
    threads: int,
    batches: dict[str, Any],
    waiting: Any,
    done: Any,
) -> None:
    """What a process runs."""
    import torch

    from llave.terminal import quiet_libraries

    quiet_libraries()
    torch.set_num_threads(threads)
    try:
        for step in run_here(manifest, model.to(device).eval(), iter(waiting.get, None), **batches):  # type: ignore[arg-type]
            done.put(step)
    except UserError as error:
        done.put(str(error))
    except Exception as error:  # the parent has the terminal
        done.put(f"a process failed: {type(error).__name__}: {error}")
