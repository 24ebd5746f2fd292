"""Work shared by processes that have a model each: one per GPU, or several on a CPU."""

import queue
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from llave.errors import UserError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["share"]

POLL_SECONDS = 1.0
Job = TypeVar("Job")
Answer = TypeVar("Answer")


def share(
    model: "SentenceTransformer",
    jobs: Sequence[Job],
    work: "Callable[[SentenceTransformer, Iterable[Job]], Iterator[Answer]]",
    processes: int,
) -> Iterator[Answer]:
    """The answers to all jobs, in any order. Each process takes the next job when it is done with one.

    With GPUs, process i is on GPU i modulo their number; on a CPU they share its threads.

    Args:
        work: one answer per job; sent to the processes, so a function of a module, or a ``partial`` of one.

    Raises:
        UserError: what a process met that no job can pass, or that it died.
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
        context.Process(target=_run, args=(model, device, threads, work, todo, done), daemon=True) for device in devices
    ]
    try:
        with _deaf_to_interrupts():
            for process in started:
                process.start()
        for job in jobs:
            todo.put(job)
        for _ in started:
            todo.put(None)
        for _ in jobs:
            yield _next(done, started)
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.join()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """What starts here leaves Ctrl-C, which reaches every process of a terminal, to the one that started it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _next(done: Any, processes: Sequence[Any]) -> Any:
    while True:
        try:
            error, answer = done.get(timeout=POLL_SECONDS)
        except queue.Empty:
            for process in processes:
                if process.exitcode not in (None, 0):
                    raise UserError(
                        f"a process ended with code {process.exitcode} (no memory left?); what is done is kept, so the "
                        "same command goes on"
                    ) from None
        else:
            if error:
                raise UserError(error)
            return answer


def _until_alone(todo: Any) -> Iterator[Any]:
    """Jobs as long as the parent lives: after its kill, another run may be at work."""
    import torch.multiprocessing as multiprocessing

    parent: Any = multiprocessing.parent_process()
    while parent.is_alive():
        try:
            job = todo.get(timeout=POLL_SECONDS)
        except queue.Empty:
            continue
        if job is None:
            return
        yield job


def _run(model: "SentenceTransformer", device: str, threads: int, work: Any, todo: Any, done: Any) -> None:
    """What a process does: ``(error, answer)`` for each job."""
    import torch

    from llave.models.nano_features import use_feature_cache
    from llave.terminal import quiet_libraries

    quiet_libraries()
    torch.set_num_threads(threads)
    try:
        model = model.to(device).eval()
        use_feature_cache(model)
        for answer in work(model, _until_alone(todo)):
            done.put(("", answer))
    except UserError as error:
        done.put((str(error), None))
    except Exception as error:  # the parent has the terminal
        done.put((f"a process failed: {type(error).__name__}: {error}", None))
