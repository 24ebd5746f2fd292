"""What a run reports while it goes: a JSONL line per log step, and a progress bar with its numbers."""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llave.training.row_errors import read_row_errors

__all__ = ["BrokenRows", "Clock", "MetricsFile", "PairsProgress", "Saved", "Warnings", "describe", "peak_bytes"]

SECONDS_BETWEEN_LINES = 30.0
"""At most, of a run that is not watched on a terminal."""


class Clock(TrainerCallback):
    """Time, pairs per second and peak memory of a run, without the time that evaluation takes."""

    def __init__(self, pairs_per_step: int) -> None:
        self.pairs_per_step = pairs_per_step
        self._start = (time.monotonic(), 0)
        self._paused = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._start = (time.monotonic(), state.global_step)
        self._paused = 0.0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens within does not count as training."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self._paused += time.monotonic() - begin

    def seconds(self) -> float:
        """Of training, since this process began it."""
        return time.monotonic() - self._start[0] - self._paused

    def pairs_per_second(self, step: int) -> float:
        """Mean since this process began."""
        return (step - self._start[1]) * self.pairs_per_step / self.seconds()


def peak_bytes() -> int:
    """Most memory held so far: allocated on the GPU, or resident in the process on a CPU."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class MetricsFile(TrainerCallback):
    """Append every log record to a JSONL file."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.clock = clock

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero or logs is None:
            return
        record = {"step": state.global_step, **logs, "seconds": round(self.clock.seconds(), 3)}
        record["pairs_per_second"] = self.clock.pairs_per_second(state.global_step)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


class PairsProgress(TrainerCallback):
    """A progress bar on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, title: str, clock: Clock) -> None:
        self.console = console
        self.title = title
        self.clock = clock
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: Any = None
        self._numbers = ""
        self._said = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._task = self.progress.add_task(
            self.title, total=state.max_steps, completed=state.global_step, rate="0 pairs/s"
        )
        self.progress.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        text = f"{self.clock.pairs_per_second(state.global_step):.0f} pairs/s{self._numbers}"
        self.progress.update(self._task, completed=state.global_step, rate=text)
        fifth = state.global_step % max(state.max_steps // 5, 1) == 0
        if not self.console.is_terminal and (fifth or time.monotonic() - self._said > SECONDS_BETWEEN_LINES):
            self._said = time.monotonic()
            self.console.print(f"{self.title}: step {state.global_step}/{state.max_steps}, {text}", soft_wrap=True)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs is not None and "loss" in logs:
            self._numbers = describe(logs)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.progress.stop()


def describe(logs: dict[str, float]) -> str:
    """A log record in few words: loss, gradient norm, cosines and their gap, memory."""
    parts = [f"loss {float(logs['loss']):.3f}"]
    if "grad_norm" in logs:
        parts.append(f"grad {float(logs['grad_norm']):.2g}")
    if "gap" in logs:
        cosines = "/".join(f"{float(logs[name]):.2f}" for name in ("positive", "hard", "easy"))
        parts.append(f"pos/hard/easy {cosines}, gap {float(logs['gap']):.2f}")
    if "memory_gib" in logs:
        parts.append(f"{float(logs['memory_gib']):.1f} GiB")
    return "".join(f", {part}" for part in parts)


class Warnings(TrainerCallback):
    """Say once when a run stops learning: nothing left to tell apart in a batch, or everything alike."""

    PATIENCE = 10
    """Log records in a row."""
    SATURATED = 0.999
    COLLAPSED = 0.01

    def __init__(self, console: Console, title: str) -> None:
        self.console = console
        self.title = title
        self._records: dict[str, int] = {}

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs is None or "gap" not in logs:
            return
        self._count(
            "saturated",
            float(logs["batch_accuracy"]) >= self.SATURATED,
            "every positive of a batch is above all its negatives; a larger batch or hard negatives would teach more",
        )
        self._count(
            "collapsed",
            float(logs["positive"]) - float(logs["easy"]) < self.COLLAPSED,
            "all embeddings are alike (positives and easy negatives score the same); lower the learning rate",
        )

    def _count(self, name: str, holds: bool, advice: str) -> None:
        self._records[name] = self._records.get(name, 0) + 1 if holds else 0
        if self._records[name] == self.PATIENCE:
            self.console.print(f"{self.title}: for {self.PATIENCE} log records {advice}")


class Saved(TrainerCallback):
    """Something to be done by every process whenever it has written its part of a checkpoint."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._then()


class BrokenRows(TrainerCallback):
    """Say once that rows had to be replaced, and at the end how many."""

    def __init__(self, path: Path, console: Console, title: str) -> None:
        self.path = path
        self.console = console
        self.title = title
        self._said = False

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if not self._said and self.path.is_file():
            self._said = True
            self.console.print(f"{self.title}: a row could not be used and was replaced; see {self.path}")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        errors = read_row_errors(self.path)
        if errors:
            reason = next(iter(errors.values()))
            self.console.print(
                f"{self.title}: {len(errors)} rows were replaced, listed in {self.path}; the first: {reason}"
            )
