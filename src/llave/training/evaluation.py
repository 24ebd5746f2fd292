"""Precision@1 while training, and the best model kept.

What decides is on disk, the score inside the directory of the model that has it, so that a killed run goes on with the
same best. Evaluation draws nothing from the generators of random numbers and leaves the model as it was: the weights
of a run with it are those of a run without.
"""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llave.errors import UserError
from llave.evaluation.benchmarks import Benchmark, get_benchmark
from llave.evaluation.compat import STRICT
from llave.evaluation.result import EvalResult
from llave.evaluation.runner import evaluate
from llave.files import recover_folder, whole_folder, write_json
from llave.training.callbacks import Clock
from llave.training.config import EvaluateConfig, TrainConfig
from llave.training.export import export_model
from llave.training.trainer import Trainer

__all__ = ["BEST", "Evaluation", "check_evaluation", "read_score"]

BEST = "best"
SCORE_FILE = "evaluation.json"


def check_evaluation(config: EvaluateConfig, held_out: Benchmark | None = None) -> Benchmark:
    """The benchmark and the held-out rows, after a look at whether they have what ``metric`` names.

    Raises:
        UserError: no such benchmark or metric.
    """
    found = [get_benchmark(config.benchmark)] if config.benchmark is not None else []
    found += [held_out] if held_out is not None else []
    benchmark = Benchmark(" and ".join(part.name for part in found), [task for part in found for task in part.tasks])
    tasks = benchmark.tasks
    known = ["overall", *sorted({task.meta_task for task in tasks} | {task.split for task in tasks if task.split})]
    known += [task.name for task in tasks if task.name not in known]
    if config.metric not in known:
        raise UserError(f"evaluate.metric: {config.metric!r} is not one of {', '.join(known)}")
    return benchmark


def read_score(directory: Path) -> dict[str, Any] | None:
    """Step, score and results of a model directory that an evaluation kept; None where there is none."""
    path = directory / SCORE_FILE
    if not path.is_file():
        return None
    record: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return record


class Evaluation(TrainerCallback):
    """Evaluate at the steps that the recipe says, log the scores, and keep the best model.

    With DDP the first process evaluates and the others wait; with sharded weights all do, since each needs the others'.

    Attributes:
        last: step, score and results of the latest evaluation.
    """

    def __init__(self, trainer: Trainer, config: TrainConfig, benchmark: Benchmark, clock: Clock) -> None:
        assert config.evaluate is not None
        self.trainer = trainer
        self.config = config
        self.settings = config.evaluate
        self.benchmark = benchmark
        self.compat = replace(STRICT, verbatim=config.verbatim, blank=config.blank)  # as the rows are trained on
        self.clock = clock
        self.best = config.output / BEST
        self.last: dict[str, Any] | None = None

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        every = self.settings.every_steps
        if every and (state.global_step % every == 0 or state.global_step == state.max_steps):
            self.run(state.global_step)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not self.settings.every_steps:
            self.run(state.global_step)

    def run(self, step: int) -> None:
        """Evaluate now."""
        with self.clock.paused():
            sharded = self.trainer.is_fsdp_enabled or self.trainer.is_deepspeed_enabled
            first = self.trainer.is_world_process_zero()
            result = self._evaluate() if sharded or first else None
            better = [False]
            if first:
                assert result is not None
                self.last = _record(step, self.settings.metric, result)
                better = [self._is_better(self.last)]
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.broadcast_object_list(better, device=self.trainer.args.device)
            if better[0]:
                self._keep()
        if first:
            assert result is not None
            groups = {f"eval_{name}": value for name, value in result.groups().items()}
            tasks = {f"eval_{name}": task.p_at_1 for name, task in result.tasks.items()}
            should_log = self.trainer.control.should_log
            self.trainer.log({**tasks, **groups})
            self.trainer.control.should_log = should_log  # or the step's own record would count as written

    def _evaluate(self) -> EvalResult:
        with _undisturbed(self.trainer), self.trainer.averaged(), self.trainer.accelerator.autocast():
            return evaluate(
                self.trainer.sentence_model,
                self.benchmark,
                compat=self.compat,
                batch_size=self.settings.batch_size,
                limit=self.settings.limit,
                progress=False,
            ).complete()

    def _is_better(self, record: dict[str, Any]) -> bool:
        if not self.settings.keep_best:
            return False
        recover_folder(self.best)
        best = read_score(self.best)
        return best is None or record["score"] > best["score"]

    def _keep(self) -> None:
        if not self.trainer.is_world_process_zero():
            export_model(self.trainer, self.config, self.best)  # its share of the weights; it writes nothing
            return
        with whole_folder(self.best, replace=True) as partial:
            export_model(self.trainer, self.config, partial)
            write_json(partial / SCORE_FILE, self.last)


def _record(step: int, metric: str, result: EvalResult) -> dict[str, Any]:
    scores = {**{name: task.p_at_1 for name, task in result.tasks.items()}, **result.groups()}
    return {"step": step, "metric": metric, "score": scores[metric], "results": result.to_json()}


@contextmanager
def _undisturbed(trainer: Trainer) -> Iterator[None]:
    """Modes of the modules and all generators of random numbers afterwards as before."""
    model = trainer.sentence_model
    modes = [(module, module.training) for module in model.modules()]
    python, numpy, state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(state)
        if devices:
            torch.cuda.set_rng_state_all(devices)
