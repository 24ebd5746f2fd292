"""What a run reports while it goes: a JSONL line per log step, and a progress bar with pairs/s."""

import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llave.training.row_errors import read_row_errors

__all__ = ["BrokenRows", "MetricsFile", "PairsProgress", "Warnings"]


class MetricsFile(TrainerCallback):
    """Append every log record to a JSONL file, with seconds and pairs/s of this process."""

    def __init__(self, path: Path, pairs_per_step: int) -> None:
        self.path = path
        self.pairs_per_step = pairs_per_step
        self._start = (0.0, 0)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._start = (time.monotonic(), state.global_step)

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
        start, first_step = self._start
        seconds = time.monotonic() - start
        pairs = (state.global_step - first_step) * self.pairs_per_step
        record = {"step": state.global_step, **logs, "seconds": round(seconds, 3), "pairs_per_second": pairs / seconds}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


class PairsProgress(TrainerCallback):
    """A progress bar on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, title: str, pairs_per_step: int) -> None:
        self.console = console
        self.title = title
        self.pairs_per_step = pairs_per_step
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
        self._loss = ""
        self._start = (0.0, 0)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._start = (time.monotonic(), state.global_step)
        self._task = self.progress.add_task(
            self.title, total=state.max_steps, completed=state.global_step, rate="0 pairs/s"
        )
        self.progress.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        start, first_step = self._start
        rate = (state.global_step - first_step) * self.pairs_per_step / (time.monotonic() - start)
        text = f"{rate:.0f} pairs/s{self._loss}"
        self.progress.update(self._task, completed=state.global_step, rate=text)
        if not self.console.is_terminal and state.global_step % max(state.max_steps // 5, 1) == 0:
            self.console.print(f"{self.title}: step {state.global_step}/{state.max_steps}, {text}")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs is not None and "loss" in logs:
            self._loss = f", loss {float(logs['loss']):.3f}"
            if "gap" in logs:
                self._loss += f", gap to hard negatives {float(logs['gap']):.2f}"

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.progress.stop()


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
            self.console.print(f"{self.title}: a row could not be opened and was replaced; see {self.path}")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        errors = read_row_errors(self.path)
        if errors:
            reason = next(iter(errors.values()))
            self.console.print(
                f"{self.title}: {len(errors)} rows were replaced, listed in {self.path}; the first: {reason}"
            )
