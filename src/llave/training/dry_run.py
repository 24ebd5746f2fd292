"""What a training run would do and take, from two real steps on a few rows."""

import dataclasses
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llave.training.arguments import training_arguments
from llave.training.callbacks import peak_bytes
from llave.training.config import DataSetConfig, TrainConfig
from llave.training.precision import with_precision
from llave.training.prepare import prepare
from llave.training.processes import with_share
from llave.training.tables import open_tables

__all__ = ["Estimate", "dry_run"]

TRAINED_COPIES = 4
"""A trained weight, its gradient, and AdamW's two moments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Of the whole run, on this device.

    ``pairs`` are those of an epoch, ``seconds`` those of all steps without loading and saving, ``peak_bytes`` of the
    device (of the process, on a CPU), with the optimiser's state in it. ``processes`` are those that the run is counted
    for; ``state_bytes`` what weights, gradients and the optimiser's state take of the peak where one process has all.
    """

    pairs: int
    steps: int
    seconds_per_step: float
    seconds: float
    peak_bytes: int
    processes: int
    state_bytes: int
    trained: int
    parameters: int
    device: str


class _Clock(TrainerCallback):
    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.monotonic())


def dry_run(config: TrainConfig, *, console: Console | None = None) -> Estimate:
    """Check data and model, take two optimiser steps, write nothing, and estimate the run.

    The second step is the measured one: the first allocates. It has the recipe's batch, so that memory is the run's;
    rows of other lengths than those drawn take more or less. One process can stand for one of a recipe's several: it
    takes its batch, and has whole what sharding would spread over all.

    Raises:
        UserError: whatever the run itself would refuse.
    """
    config = with_precision(config)
    alone = dataclasses.replace(config, track=[])
    if _single():
        alone = dataclasses.replace(alone, sharding="none", deepspeed=None)
    arguments = training_arguments(alone)
    processes = (config.processes or 1) if arguments.world_size == 1 else arguments.world_size
    config, alone = with_share(config, processes), with_share(alone, processes)
    console = console or Console(stderr=True)
    if arguments.process_index:
        console = Console(quiet=True)
    tables = open_tables(config.data, config.datasets, config.setting, config.split, config.images)
    settings = {name: setting for name, (setting, _) in tables.items()}
    counts = {name: len(table) for name, (_, table) in tables.items()}
    used = {name: min(count, settings[name].cap or count) for name, count in counts.items()}
    pairs = round(sum(settings[name].weight * number for name, number in used.items()))
    enough = 2 * config.batch_size * config.accumulate * arguments.world_size
    per_step = config.batch_size * config.accumulate * processes
    few: dict[str, DataSetConfig] = {
        name: dataclasses.replace(setting, cap=min(setting.cap or counts[name], enough))
        for name, setting in settings.items()
    }
    clock = _Clock()
    with tempfile.TemporaryDirectory() as directory:
        short = dataclasses.replace(
            alone, datasets=few, max_steps=2, output=Path(directory), evaluate=None, val_fraction=0.0,
            processes=arguments.world_size,
        )  # fmt: skip
        prepared = prepare(short, console, "dry run")
        trainer = prepared.trainer
        trainer.args.save_strategy = "no"
        trainer.add_callback(clock)
        trainer.train()
    parameters = list(prepared.model.parameters())
    steps = config.max_steps
    if steps < 0:
        steps = max(round(config.epochs * pairs / per_step), 1)
    estimate = Estimate(
        pairs=pairs,
        steps=steps,
        seconds_per_step=clock.ends[1] - clock.ends[0],
        seconds=steps * (clock.ends[1] - clock.ends[0]),
        peak_bytes=peak_bytes(),
        processes=processes,
        state_bytes=sum(_state_bytes(parameter) for parameter in parameters),
        trained=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        parameters=sum(parameter.numel() for parameter in parameters),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads",
    )
    _print(console, config, used, counts, estimate)
    if arguments.world_size < processes or alone.sharding != config.sharding or alone.deepspeed != config.deepspeed:
        console.print(_simulated(config, estimate), soft_wrap=True)
    return estimate


def _single() -> bool:
    """Whether this is the only process; torchrun says so before a group of processes is there."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1


def _state_bytes(parameter: torch.nn.Parameter) -> int:
    """Of a parameter with its gradient and AdamW's two moments, if it is trained."""
    return parameter.numel() * parameter.itemsize * (TRAINED_COPIES if parameter.requires_grad else 1)


def _simulated(config: TrainConfig, estimate: Estimate) -> str:
    """What one process cannot show of a run of several."""
    state = f"{estimate.state_bytes / 2**30:.1f} GiB"
    lines = [
        f"simulated: one of {estimate.processes} processes, with its own {config.batch_size} pairs of "
        f"{config.batch_size * estimate.processes}; not what they exchange, nor the negatives of the others"
    ]
    if config.deepspeed is not None:
        lines.append(f"without DeepSpeed: weights, gradients and optimiser state are here whole, {state}")
    elif config.sharding != "none":
        lines.append(
            f"without sharding: weights, gradients and optimiser state are here whole, {state}; "
            f"each of {estimate.processes} would keep about {estimate.state_bytes / estimate.processes / 2**30:.1f} GiB"
        )
    return "\n".join(lines)


def _print(
    console: Console, config: TrainConfig, used: dict[str, int], counts: dict[str, int], estimate: Estimate
) -> None:
    table = Table(title="dry run: rows")
    for column in ("data set", "rows", "used"):
        table.add_column(column, justify="left" if column == "data set" else "right")
    for name, number in used.items():
        table.add_row(name, f"{counts[name]:,}", f"{number:,}")
    console.print(table)
    minutes = estimate.seconds / 60
    length = f"{estimate.seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} minutes"
    if minutes > 120:
        length = f"{minutes / 60:.1f} hours"
    console.print(
        f"model {config.model}: {estimate.parameters / 1e6:,.1f} M parameters, "
        f"{estimate.trained / 1e6:,.1f} M trained\n"
        f"{estimate.pairs:,} pairs an epoch, {estimate.steps:,} steps of {config.batch_size} per device"
        f"{f', {estimate.processes} devices' if estimate.processes > 1 else ''}\n"
        f"{estimate.device}: {estimate.seconds_per_step:.2f} s per step, {length} in all, "
        f"peak memory {estimate.peak_bytes / 2**30:.1f} GiB (measured on the second of two steps)"
    )
