"""An exponential moving average of the weights in training: what a run exports instead of its last step.

The last steps of a run differ by the noise of their batches; the average of many is flatter and often generalises
better (arXiv 1803.05407; over runs: ``llave merge``). It costs a copy of the trained weights in float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

__all__ = ["WeightAverage"]


class WeightAverage(TrainerCallback):
    """The average of a model's trained parameters, followed after optimiser steps.

    The n-th update, from 0, keeps ``min(decay, (1 + n) / (10 + n))`` of the past, so that a short run is not an average
    of where it began. It is a function of the step alone: a resumed run has that of an uninterrupted one.

    Args:
        model: in training; parameters that are frozen stay as they are.
        decay: share of the past in an update, in [0, 1).
        every: optimiser steps between updates.
    """

    def __init__(self, model: nn.Module, *, decay: float, every: int) -> None:
        self.model = model
        self.decay = decay
        self.every = every
        self.average: dict[str, Tensor] = {}

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, value) for name, value in self.model.named_parameters() if value.requires_grad)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not self.average:  # or it comes from a checkpoint
            self.average = {
                name: value.detach().float().clone(memory_format=torch.contiguous_format)
                for name, value in self._trained()
            }

    @torch.no_grad()
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.global_step % self.every:
            return
        number = state.global_step // self.every - 1
        kept = min(self.decay, (1 + number) / (10 + number))
        for name, value in self._trained():
            self.average[name].lerp_(value.detach().float(), 1 - kept)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the average within, and its own weights afterwards, bit for bit."""
        own = {name: value.data for name, value in self._trained()}
        parameters = dict(self._trained())
        for name, value in self.average.items():
            parameters[name].data = value.to(own[name].dtype)
        try:
            yield
        finally:
            for name, value in own.items():
                parameters[name].data = value

    def state_dict(self) -> dict[str, Tensor]:
        """The average, for a checkpoint."""
        return self.average

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from :meth:`state_dict`."""
        self.average = {name: state[name].to(value.device) for name, value in self._trained()}
